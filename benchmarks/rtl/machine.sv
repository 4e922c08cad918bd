// The array with the accelerator's ports and the accelerator's place in the simulation: same harness, same driver.
//
// A run streams as many pixels as register 0x28 says, one in every cycle, in passes of PASS pixels, each with weights of its own;
// activations and weights are pseudo-random numbers (xorshift, Marsaglia 2003, triple 13, 7, 17). Every sum that leaves the array
// is added to its column's total; registers 0x40 … are the totals. Nothing uses the bus.
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
  localparam int ROWS = 16;
  localparam int COLUMNS = 16;
  localparam int PASS = 64;
  localparam int LOAD = 40;  // of a pass: the swap before has passed every row and column, and ROWS cycles are left
  localparam int FLUSH = ROWS + COLUMNS;

  function automatic logic [63:0] xorshift(input logic [63:0] old);
    automatic logic [63:0] x = old ^ (old << 13);
    x = x ^ (x >> 7);
    return x ^ (x << 17);
  endfunction

  logic [31:0] pixels, count, totals[COLUMNS];
  logic [5:0] flush;
  logic [63:0] random[4];
  logic running, done, irq_enable, irq_status;

  // AXI4-Lite: writes wait for address and data together.
  wire write_now = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
  assign s_axil_awready = write_now;
  assign s_axil_wready = write_now;
  assign s_axil_arready = !s_axil_rvalid;
  assign s_axil_bresp = 0;
  assign s_axil_rresp = 0;
  wire start = write_now && s_axil_awaddr == 12'h010 && s_axil_wdata[0] && !running;

  // A pixel in every cycle, the next tile's weights once a pass; the first tile comes before the first pixel.
  logic loading;  // the first tile
  logic [4:0] loaded;
  wire valid = running && !loading && count != pixels;
  wire [5:0] place = count[5:0];
  wire shift = running && (loading ? loaded < ROWS : valid && place >= LOAD && place < LOAD + ROWS);
  wire finish = running && !loading && flush == FLUSH;
  logic signed [7:0] entering[ROWS], weights[COLUMNS];
  logic signed [31:0] sums[COLUMNS];
  logic sums_valid[COLUMNS];

  // Row r's activation, r cycles after row 0's.
  logic [7:0] skew[ROWS][ROWS];
  for (genvar r = 0; r < ROWS; r++) begin : entry
    wire [7:0] fresh = random[r/8][8*(r%8)+:8];
    assign entering[r] = r == 0 ? fresh : skew[r][r-1];
    assign weights[r] = random[2+r/8][8*(r%8)+:8];
    always_ff @(posedge clk)
      for (int n = 0; n < r; n++) skew[r][n] <= n == 0 ? fresh : skew[r][n-1];
  end

  array_only #(.ROWS(ROWS), .COLUMNS(COLUMNS)) array (
      .clk(clk), .valid(valid), .swap(valid && place == 0), .activations(entering), .shift(shift), .weights(weights),
      .sums_valid(sums_valid), .sums(sums)
  );

  always_ff @(posedge clk) begin
    for (int c = 0; c < COLUMNS; c++) if (sums_valid[c]) totals[c] <= totals[c] + sums[c];
    if (valid) begin
      count <= count + 1;
      random[0] <= xorshift(random[0]);
      random[1] <= xorshift(random[1]);
    end
    if (shift) begin
      random[2] <= xorshift(random[2]);
      random[3] <= xorshift(random[3]);
    end
    if (running && loading) begin
      loaded <= loaded + 1;
      if (loaded == ROWS) loading <= 0;
    end
    if (running && !loading && count == pixels) flush <= flush + 1;
    if (finish) begin
      running <= 0;
      done <= 1;
      irq_status <= 1;
    end
    if (start) begin
      running <= 1;
      done <= 0;
      loading <= 1;
      loaded <= 0;
      count <= 0;
      flush <= 0;
      for (int n = 0; n < 4; n++) random[n] <= 64'h9E3779B97F4A7C15 + 64'(n);
      for (int c = 0; c < COLUMNS; c++) totals[c] <= 0;
    end

    if (s_axil_bready) s_axil_bvalid <= 0;
    if (s_axil_rready) s_axil_rvalid <= 0;
    if (write_now) begin
      s_axil_bvalid <= 1;
      if (s_axil_awaddr == 12'h018) irq_enable <= s_axil_wdata[0];
      if (s_axil_awaddr == 12'h01C && s_axil_wdata[0]) irq_status <= 0;
      if (s_axil_awaddr == 12'h028) pixels <= s_axil_wdata;
    end
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1;
      s_axil_rdata <= s_axil_araddr == 12'h014 ? {30'b0, done, running} : totals[s_axil_araddr[5:2]];
    end
    if (rst) begin
      running <= 0;
      done <= 0;
      irq_enable <= 0;
      irq_status <= 0;
      s_axil_bvalid <= 0;
      s_axil_rvalid <= 0;
    end
  end

  assign irq = irq_enable && irq_status;
  assign m_axi_araddr = 0;
  assign m_axi_arlen = 0;
  assign m_axi_arsize = 0;
  assign m_axi_arburst = 0;
  assign m_axi_arid = 0;
  assign m_axi_arcache = 0;
  assign m_axi_arprot = 0;
  assign m_axi_arvalid = 0;
  assign m_axi_rready = 0;
  assign m_axi_awaddr = 0;
  assign m_axi_awlen = 0;
  assign m_axi_awsize = 0;
  assign m_axi_awburst = 0;
  assign m_axi_awid = 0;
  assign m_axi_awcache = 0;
  assign m_axi_awprot = 0;
  assign m_axi_awvalid = 0;
  assign m_axi_wdata = 0;
  assign m_axi_wstrb = 0;
  assign m_axi_wlast = 0;
  assign m_axi_wvalid = 0;
  assign m_axi_bready = 0;
  assign trace_running = running;
  assign trace_class = 0;
  assign trace_taken = 0;
  assign trace_retire = 0;
endmodule
