// A stand-in for the accelerator, to test the simulation harness alone: it has the accelerator's ports and copies memory.
//
// Registers: CONTROL, STATUS, IRQ_ENABLE, IRQ_STATUS as the accelerator's; then
//   0x20 SOURCE    0x24 DESTINATION    0x28 BURSTS    0x2C BURST_BEATS
//   0x30 MODE      bit 0 read, bit 1 write (without bit 0 a counting pattern), bit 2 WLAST a beat early
//   0x40 … cycles of the run, the first being 0: AR, first R, last R, AW, first W, last W, first B, last B
//   0x60 worst read response | worst write response << 2     0x64 beats read with an error
module systola #(
    parameter int DATA_BYTES = 16
) (
    input  logic        clk,
    input  logic        rst,
    output logic        irq,
    output logic [31:0] m_axi_araddr,
    output logic [7:0]  m_axi_arlen,
    output logic [2:0]  m_axi_arsize,
    output logic [1:0]  m_axi_arburst,
    output logic        m_axi_arid,
    output logic [3:0]  m_axi_arcache,
    output logic [2:0]  m_axi_arprot,
    output logic        m_axi_arvalid,
    input  logic        m_axi_arready,
    input  logic [8*DATA_BYTES-1:0] m_axi_rdata,
    input  logic [1:0]  m_axi_rresp,
    input  logic        m_axi_rlast,
    input  logic        m_axi_rid,
    input  logic        m_axi_rvalid,
    output logic        m_axi_rready,
    output logic [31:0] m_axi_awaddr,
    output logic [7:0]  m_axi_awlen,
    output logic [2:0]  m_axi_awsize,
    output logic [1:0]  m_axi_awburst,
    output logic        m_axi_awid,
    output logic [3:0]  m_axi_awcache,
    output logic [2:0]  m_axi_awprot,
    output logic        m_axi_awvalid,
    input  logic        m_axi_awready,
    output logic [8*DATA_BYTES-1:0] m_axi_wdata,
    output logic [DATA_BYTES-1:0] m_axi_wstrb,
    output logic        m_axi_wlast,
    output logic        m_axi_wvalid,
    input  logic        m_axi_wready,
    input  logic [1:0]  m_axi_bresp,
    input  logic        m_axi_bid,
    input  logic        m_axi_bvalid,
    output logic        m_axi_bready,
    input  logic [11:0] s_axil_awaddr,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [31:0] s_axil_wdata,
    input  logic [3:0]  s_axil_wstrb,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [1:0]  s_axil_bresp,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    input  logic [11:0] s_axil_araddr,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    output logic        trace_running,
    output logic [19:0] trace_class,
    output logic [4:0]  trace_taken,
    output logic [4:0]  trace_retire
);
  localparam int FIFO_BEATS = 1024;
  localparam int WORDS = 32;

  logic [31:0] registers[WORDS];
  wire [31:0] source = registers[8], destination = registers[9], bursts = registers[10], burst_beats = registers[11];
  wire reading = registers[12][0], writing = registers[12][1], early_last = registers[12][2];
  logic running, done;
  logic [31:0] cycle;

  // AXI4-Lite: writes wait for address and data together; unknown addresses above 0x7F answer SLVERR.
  wire write_now = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
  assign s_axil_awready = write_now;
  assign s_axil_wready = write_now;
  assign s_axil_arready = !s_axil_rvalid;
  wire start = write_now && s_axil_awaddr == 12'h010 && s_axil_wdata[0] && !running;

  // Reads.
  logic [31:0] ar_sent, r_beats, fifo_reserved;
  wire [31:0] beats = bursts * burst_beats;
  wire ar_room = fifo_reserved + burst_beats <= FIFO_BEATS;
  assign m_axi_arvalid = running && reading && ar_sent != bursts && ar_room;
  assign m_axi_araddr = source + ar_sent * burst_beats * DATA_BYTES;
  assign m_axi_arlen = 8'(burst_beats - 1);
  assign m_axi_arsize = 3'($clog2(DATA_BYTES));
  assign m_axi_arburst = 1;
  assign m_axi_arid = 0;
  assign m_axi_arcache = 3;
  assign m_axi_arprot = 0;
  assign m_axi_rready = 1;
  logic [8*DATA_BYTES-1:0] fifo[FIFO_BEATS];
  wire r_now = m_axi_rvalid && m_axi_rready;
  wire ar_now = m_axi_arvalid && m_axi_arready;

  // Writes: a burst's address goes out once its first beat is there.
  logic [31:0] aw_sent, w_beats, w_in_burst, b_count;
  assign m_axi_awvalid = running && writing && aw_sent != bursts && (!reading || r_beats > aw_sent * burst_beats);
  assign m_axi_awaddr = destination + aw_sent * burst_beats * DATA_BYTES;
  assign m_axi_awlen = 8'(burst_beats - 1);
  assign m_axi_awsize = 3'($clog2(DATA_BYTES));
  assign m_axi_awburst = 1;
  assign m_axi_awid = 0;
  assign m_axi_awcache = 3;
  assign m_axi_awprot = 0;
  assign m_axi_wvalid = running && writing && w_beats != beats && (!reading || r_beats > w_beats);
  assign m_axi_wdata = reading ? fifo[w_beats % FIFO_BEATS] : {(DATA_BYTES / 4){w_beats}};
  assign m_axi_wstrb = w_beats % 4 == 3 && !reading ? DATA_BYTES'(5) : '1;  // some beats are written in part
  assign m_axi_wlast = w_in_burst == (early_last ? burst_beats - 2 : burst_beats - 1);
  assign m_axi_bready = 1;
  wire aw_now = m_axi_awvalid && m_axi_awready;
  wire w_now = m_axi_wvalid && m_axi_wready;
  wire b_now = m_axi_bvalid && m_axi_bready;

  wire read_end = r_now && r_beats + 1 == beats;
  wire write_end = b_now && b_count + 1 == bursts;
  wire finish = running && (writing ? write_end : reading ? read_end : cycle == beats);

  assign irq = |(registers[7] & registers[6]);
  assign trace_running = running;
  assign trace_class[3:0] = !running || !reading || r_beats == beats ? 4'd0 : r_now ? 4'd1 : 4'd8;
  assign trace_class[15:4] = 0;
  assign trace_class[19:16] = !running || !writing ? 4'd0 : w_now ? 4'd1 : 4'd8;
  assign trace_taken = {running && writing && aw_now, 3'b0, running && reading && ar_now};
  assign trace_retire = {running && writing && b_now, 3'b0, running && reading && r_now && m_axi_rlast};

  always_ff @(posedge clk) begin
    if (s_axil_bready) s_axil_bvalid <= 0;
    if (s_axil_rready) s_axil_rvalid <= 0;
    if (write_now) begin
      s_axil_bvalid <= 1;
      s_axil_bresp <= s_axil_awaddr >= 12'h080 ? 2 : 0;
      if (s_axil_awaddr == 12'h01C) registers[7] <= registers[7] & ~s_axil_wdata;
      else if (s_axil_awaddr < 12'h080 && s_axil_awaddr != 12'h010) registers[s_axil_awaddr[6:2]] <= s_axil_wdata;
    end
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1;
      s_axil_rresp <= s_axil_araddr >= 12'h080 ? 2 : 0;
      s_axil_rdata <= registers[s_axil_araddr[6:2]];
      if (s_axil_araddr == 12'h014) s_axil_rdata <= {30'b0, done, running};
    end

    if (start) begin
      running <= 1;
      done <= 0;
      cycle <= 0;
      ar_sent <= 0; r_beats <= 0; fifo_reserved <= 0;
      aw_sent <= 0; w_beats <= 0; w_in_burst <= 0; b_count <= 0;
      registers[24] <= 0; registers[25] <= 0;
    end
    if (running) begin
      cycle <= cycle + 1;
      fifo_reserved <= fifo_reserved + (ar_now ? burst_beats : 0) - 32'((reading && writing) ? w_now : r_now);
      if (ar_now) ar_sent <= ar_sent + 1;
      if (ar_now && ar_sent == 0) registers[16] <= cycle;
      if (r_now) begin
        fifo[r_beats % FIFO_BEATS] <= m_axi_rdata;
        r_beats <= r_beats + 1;
        if (r_beats == 0) registers[17] <= cycle;
        registers[18] <= cycle;
        if (m_axi_rresp > registers[24][1:0]) registers[24][1:0] <= m_axi_rresp;
        if (m_axi_rresp != 0) registers[25] <= registers[25] + 1;
      end
      if (aw_now) aw_sent <= aw_sent + 1;
      if (aw_now && aw_sent == 0) registers[19] <= cycle;
      if (w_now) begin
        w_beats <= w_beats + 1;
        w_in_burst <= w_in_burst + 1 == burst_beats ? 0 : w_in_burst + 1;
        if (w_beats == 0) registers[20] <= cycle;
        registers[21] <= cycle;
      end
      if (b_now) begin
        b_count <= b_count + 1;
        if (b_count == 0) registers[22] <= cycle;
        registers[23] <= cycle;
        if (m_axi_bresp > registers[24][3:2]) registers[24][3:2] <= m_axi_bresp;
      end
      if (finish) begin
        running <= 0;
        done <= 1;
        registers[7][0] <= 1;
      end
    end
    if (rst) begin
      running <= 0;
      done <= 0;
      s_axil_bvalid <= 0;
      s_axil_rvalid <= 0;
      for (int i = 0; i < WORDS; i++) registers[i] <= 0;
    end
  end
endmodule
