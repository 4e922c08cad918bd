// What is compiled: the accelerator, its DRAM and the clock, in one model.
//
// The clock is made here and not by cocotb, so a run costs no Python; a cycle is two time units. cocotb sees the ports
// that harness.vlt names: clock, reset, reload, interrupt and the AXI4-Lite bus.
module systola_harness #(
    parameter int ADDRESS_BITS = 32,
    parameter int DATA_BYTES = 16
);
  `include "settings.svh"

  import "DPI-C" function longint systola_setting(input int index);
  import "DPI-C" function void systola_trace_record(
      input int run, input longint cycle, input int classes, input int taken, input int retired);
  import "DPI-C" function void systola_trace_end(input int run, input longint cycle);
  import "DPI-C" function void systola_waveform(input bit on);
  import "DPI-C" function void systola_sleep_until_irq(input bit on);

  // verilator lint_off STMTDLY
  logic clk;
  initial clk = 0;
  always #1 clk = ~clk;
  // verilator lint_on STMTDLY

  // Driven by cocotb.
  logic rst, reload, asleep;
  logic axil_awvalid, axil_wvalid, axil_bready, axil_arvalid, axil_rready;
  logic [11:0] axil_awaddr, axil_araddr;
  logic [31:0] axil_wdata;
  logic [3:0] axil_wstrb;
  // Read by cocotb.
  logic irq;
  logic axil_awready, axil_wready, axil_bvalid, axil_arready, axil_rvalid;
  logic [1:0] axil_bresp, axil_rresp;
  logic [31:0] axil_rdata;

  logic [ADDRESS_BITS-1:0] araddr, awaddr;
  logic [7:0] arlen, awlen;
  logic [2:0] arsize, awsize;
  logic [1:0] arburst, awburst, rresp, bresp;
  logic arid, awid, rid, bid;
  logic arvalid, arready, awvalid, awready, wvalid, wready, wlast, rvalid, rready, rlast, bvalid, bready;
  logic [8*DATA_BYTES-1:0] rdata, wdata;
  logic [DATA_BYTES-1:0] wstrb;

  logic trace_running;
  logic [19:0] trace_class;
  logic [4:0] trace_taken, trace_retire;

  longint run_cycle;  // number of this cycle since trace_running rose
  int run;  // runs finished since reset

  systola accelerator (
      .clk(clk), .rst(rst), .irq(irq),
      .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize), .m_axi_arburst(arburst), .m_axi_arid(arid),
      .m_axi_arcache(), .m_axi_arprot(), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
      .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast), .m_axi_rid(rid), .m_axi_rvalid(rvalid),
      .m_axi_rready(rready),
      .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize), .m_axi_awburst(awburst), .m_axi_awid(awid),
      .m_axi_awcache(), .m_axi_awprot(), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
      .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid), .m_axi_wready(wready),
      .m_axi_bresp(bresp), .m_axi_bid(bid), .m_axi_bvalid(bvalid), .m_axi_bready(bready),
      .s_axil_awaddr(axil_awaddr), .s_axil_awvalid(axil_awvalid), .s_axil_awready(axil_awready),
      .s_axil_wdata(axil_wdata), .s_axil_wstrb(axil_wstrb), .s_axil_wvalid(axil_wvalid), .s_axil_wready(axil_wready),
      .s_axil_bresp(axil_bresp), .s_axil_bvalid(axil_bvalid), .s_axil_bready(axil_bready),
      .s_axil_araddr(axil_araddr), .s_axil_arvalid(axil_arvalid), .s_axil_arready(axil_arready),
      .s_axil_rdata(axil_rdata), .s_axil_rresp(axil_rresp), .s_axil_rvalid(axil_rvalid), .s_axil_rready(axil_rready),
      .trace_running(trace_running), .trace_class(trace_class), .trace_taken(trace_taken), .trace_retire(trace_retire)
  );

  systola_dram #(.ADDRESS_BITS(ADDRESS_BITS), .DATA_BYTES(DATA_BYTES)) dram (.*);

  // The trace: one comparison a cycle; the records are made in C++.
  int trace_level;
  longint wave_run, wave_from, wave_to;
  logic was_running;
  logic [19:0] last_class;

  // cocotb raises `asleep` while it waits for the interrupt and nothing else; the main program then leaves it alone.
  always @(asleep or irq) systola_sleep_until_irq(asleep && !irq);

  always @(posedge clk) begin
    if (rst || reload) begin
      trace_level = int'(systola_setting(SETTING_TRACE_LEVEL));
      wave_run = systola_setting(SETTING_WAVE_RUN);
      wave_from = systola_setting(SETTING_WAVE_FROM);
      wave_to = systola_setting(SETTING_WAVE_TO);
    end
    if (rst) begin
      run_cycle <= 0;
      run <= 0;
      was_running <= 0;
    end else begin
      was_running <= trace_running;
      if (trace_running) begin
        run_cycle <= run_cycle + 1;
        last_class <= trace_class;
        if (trace_level != 0 && (!was_running || trace_class != last_class || (trace_taken | trace_retire) != 0))
          systola_trace_record(run, run_cycle, {12'b0, trace_class}, {27'b0, trace_taken}, {27'b0, trace_retire});
        if (wave_run == longint'(run)) begin
          if (run_cycle == wave_from) systola_waveform(1);
          if (run_cycle == wave_to) systola_waveform(0);
        end
      end else if (was_running) begin
        if (trace_level != 0) systola_trace_end(run, run_cycle);
        systola_waveform(0);
        run_cycle <= 0;
        run <= run + 1;
      end
    end
  end
endmodule
