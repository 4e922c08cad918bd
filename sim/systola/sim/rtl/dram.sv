// The DRAM behind the accelerator's bus: an AXI4 subordinate with latency, bandwidth, stalls and faults.
//
// Its bytes are a file shared with Python (dram.cpp). Its settings come from the control block and are loaded while `rst` or
// `reload` is 1, so one built model serves every setting.
//
// Timing, exactly (the same words with examples are in docs/reference/dram.md). Cycle n ends at its clock edge. L is the
// latency, B the bandwidth in bytes per cycle, D the bytes of a beat. At the edge that ends cycle n, in this order:
//   1. What was handed over in cycle n (VALID and READY both 1) is taken: a read or write address, a write beat (into a
//      buffer of one), a read beat (the output register is empty again), a response.
//   2. credit = min(credit + B, D + B); it is full when a run begins.
//   3. A read beat is wanted if the output register is empty and the oldest read burst was taken at the end of cycle n - L + 1
//      or earlier. A write beat is wanted if the buffer is full and its address was taken.
//   4. Each wanted beat costs D of the credit. If both are wanted and credit < 2 D, the side that lost the last such
//      contest goes first (reads, the first time in a run). A granted read beat is on the bus from cycle n + 1 on; a granted
//      write beat is in memory, and its buffer is free in cycle n + 1.
//   5. A burst whose last beat was written at the end of cycle d is answered from cycle d + L on, oldest first, one a cycle.
// So a read address taken in cycle t has its first beat in cycle t + L, an unhindered burst then moves a beat a cycle where
// B >= D and B / D beats a cycle otherwise, and a last write beat taken in cycle t has its response in cycle t + L.
// All outputs are registers: nothing combinational passes through the memory.
module systola_dram #(
    parameter int ADDRESS_BITS = 32,
    parameter int DATA_BYTES = 16,
    parameter int ID_BITS = 1
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      reload,
    input  longint                    run_cycle,  // for the records of write bursts
    input  int                        run,
    input  logic                      trace_running,  // a program runs
    input  logic [ADDRESS_BITS-1:0]   araddr,
    input  logic [7:0]                arlen,
    input  logic [2:0]                arsize,
    input  logic [1:0]                arburst,
    input  logic [ID_BITS-1:0]        arid,
    input  logic                      arvalid,
    output logic                      arready,
    output logic [8*DATA_BYTES-1:0]   rdata,
    output logic [1:0]                rresp,
    output logic                      rlast,
    output logic [ID_BITS-1:0]        rid,
    output logic                      rvalid,
    input  logic                      rready,
    input  logic [ADDRESS_BITS-1:0]   awaddr,
    input  logic [7:0]                awlen,
    input  logic [2:0]                awsize,
    input  logic [1:0]                awburst,
    input  logic [ID_BITS-1:0]        awid,
    input  logic                      awvalid,
    output logic                      awready,
    input  logic [8*DATA_BYTES-1:0]   wdata,
    input  logic [DATA_BYTES-1:0]     wstrb,
    input  logic                      wlast,
    input  logic                      wvalid,
    output logic                      wready,
    output logic [1:0]                bresp,
    output logic [ID_BITS-1:0]        bid,
    output logic                      bvalid,
    input  logic                      bready
);
  `include "settings.svh"

  import "DPI-C" function longint systola_setting(input int index);
  import "DPI-C" function void systola_dram_read(
      input longint offset, input int bytes, output bit [8*DATA_BYTES-1:0] data);
  import "DPI-C" function void systola_dram_write(
      input longint offset, input int bytes, input bit [8*DATA_BYTES-1:0] data, input bit [DATA_BYTES-1:0] strobes);
  import "DPI-C" function void systola_write_record(
      input int run, input longint first_cycle, input longint last_cycle, input longint address, input int length_bytes);
  import "DPI-C" function void systola_protocol_error(input string rule);

  localparam int BEAT_LOG2 = $clog2(DATA_BYTES);
  localparam int BEAT_COST = DATA_BYTES << RATE_FRACTION_BITS;
  localparam logic [1:0] OKAY = 0;
  localparam logic [1:0] DECERR = 3;
  localparam logic [1:0] INCR = 1;

  // Settings.
  longint memory_base, memory_bytes, latency;
  int rate, credit_limit, read_depth, write_depth;
  bit stalls;
  logic [7:0] stall_ar, stall_r, stall_aw, stall_w, stall_b;
  int read_error_burst, read_error_beat, write_error_burst;
  logic [1:0] read_error_response, write_error_response;
  bit trace_writes;

  // State. Everything here is assigned with `=` and used in this one process only; the outputs are assigned with `<=`.
  longint now;  // number of the cycle that ends at this edge
  int credit;
  bit write_first;  // who wins the next contest
  logic [63:0] random;
  int read_bursts, write_bursts;  // taken since the settings were loaded

  // Read bursts, oldest at read_head.
  longint read_offset[QUEUE_DEPTH];
  longint read_due[QUEUE_DEPTH];
  logic [7:0] read_length[QUEUE_DEPTH];
  logic [ID_BITS-1:0] read_id[QUEUE_DEPTH];
  logic [1:0] read_response[QUEUE_DEPTH];
  int read_bad_beat[QUEUE_DEPTH];
  logic [7:0] read_head, read_tail;
  int read_count;
  int read_beat;
  bit read_full;  // the output register holds a beat; equals rvalid

  // Write bursts: [write_head, write_tail) wait for beats, [answer_head, write_head) wait for their response.
  longint write_offset[QUEUE_DEPTH];
  longint answer_due[QUEUE_DEPTH];
  logic [7:0] write_length[QUEUE_DEPTH];
  logic [ID_BITS-1:0] write_id[QUEUE_DEPTH];
  logic [1:0] write_response[QUEUE_DEPTH];
  logic [7:0] answer_head, write_head, write_tail;
  int write_count, answer_count;
  int write_beat;
  longint write_first_cycle;
  bit write_full;  // the buffer holds a beat
  logic [8*DATA_BYTES-1:0] held_data;
  logic [DATA_BYTES-1:0] held_strobes;
  bit held_last;
  bit answer_full;  // equals bvalid

  // What was offered and not taken: it must be offered again, unchanged (ARM IHI 0022, A3.2.1).
  bit ar_offered, aw_offered, w_offered;
  logic [ADDRESS_BITS+7:0] ar_payload, aw_payload;
  logic [9*DATA_BYTES:0] w_payload;

  task automatic load_settings();
    memory_base = systola_setting(SETTING_MEMORY_BASE);
    memory_bytes = systola_setting(SETTING_MEMORY_BYTES);
    latency = systola_setting(SETTING_LATENCY);
    rate = int'(systola_setting(SETTING_RATE));
    credit_limit = BEAT_COST + rate;
    read_depth = int'(systola_setting(SETTING_READ_DEPTH));
    write_depth = int'(systola_setting(SETTING_WRITE_DEPTH));
    stalls = systola_setting(SETTING_STALLS) != 0;
    stall_ar = 8'(systola_setting(SETTING_STALL_AR));
    stall_r = 8'(systola_setting(SETTING_STALL_R));
    stall_aw = 8'(systola_setting(SETTING_STALL_AW));
    stall_w = 8'(systola_setting(SETTING_STALL_W));
    stall_b = 8'(systola_setting(SETTING_STALL_B));
    random = systola_setting(SETTING_SEED) ^ 64'h9E3779B97F4A7C15;
    if (random == 0) random = 1;
    read_error_burst = int'(systola_setting(SETTING_READ_ERROR_BURST));
    read_error_beat = int'(systola_setting(SETTING_READ_ERROR_BEAT));
    read_error_response = 2'(systola_setting(SETTING_READ_ERROR_RESPONSE));
    write_error_burst = int'(systola_setting(SETTING_WRITE_ERROR_BURST));
    write_error_response = 2'(systola_setting(SETTING_WRITE_ERROR_RESPONSE));
    trace_writes = systola_setting(SETTING_TRACE_WRITES) != 0;
    read_bursts = 0;
    write_bursts = 0;
  endtask

  // Between programs: each begins with the same memory, so its cycles do not depend on what ran before.
  task automatic rest();
    credit = credit_limit;
    write_first = 0;
  endtask

  task automatic clear();
    now = 0;
    credit = 0;
    write_first = 0;
    read_head = 0;
    read_tail = 0;
    read_count = 0;
    read_beat = 0;
    read_full = 0;
    answer_head = 0;
    write_head = 0;
    write_tail = 0;
    write_count = 0;
    answer_count = 0;
    write_beat = 0;
    write_full = 0;
    answer_full = 0;
    ar_offered = 0;
    aw_offered = 0;
    w_offered = 0;
  endtask

  // The rules of a burst that this memory relies on: full beats, incrementing, within 4 KiB (ARM IHI 0022, A3.4.1).
  task automatic check_burst(input string channel, input logic [11:0] address, input logic [7:0] length,
                             input logic [2:0] size, input logic [1:0] burst);
    if (int'(size) != BEAT_LOG2) systola_protocol_error({channel, "SIZE is not a full beat"});
    if (burst != INCR) systola_protocol_error({channel, "BURST is not INCR"});
    if ((int'(address >> BEAT_LOG2) + int'(length)) << BEAT_LOG2 >= 4096)
      systola_protocol_error({channel, ": a burst crosses a 4 KiB boundary"});
  endtask

  // First byte of the burst's first beat, counted from the memory's first byte.
  function automatic longint offset_of(input logic [ADDRESS_BITS-1:0] address);
    return longint'(64'(address >> BEAT_LOG2) << BEAT_LOG2) - memory_base;
  endfunction

  function automatic bit outside(input longint offset, input logic [7:0] length);
    return offset < 0 || offset + ((longint'(length) + 1) << BEAT_LOG2) > memory_bytes;
  endfunction

  task automatic take_read_address();
    check_burst("AR", araddr[11:0], arlen, arsize, arburst);
    read_bursts = read_bursts + 1;
    read_offset[read_tail] = offset_of(araddr);
    read_due[read_tail] = now + latency - 1;
    read_length[read_tail] = arlen;
    read_id[read_tail] = arid;
    read_bad_beat[read_tail] = -1;
    read_response[read_tail] = OKAY;
    if (outside(offset_of(araddr), arlen)) read_response[read_tail] = DECERR;
    else if (read_bursts == read_error_burst) begin
      read_response[read_tail] = read_error_response;
      read_bad_beat[read_tail] = read_error_beat;
    end
    read_tail = read_tail + 1;
    read_count = read_count + 1;
  endtask

  task automatic take_write_address();
    check_burst("AW", awaddr[11:0], awlen, awsize, awburst);
    write_bursts = write_bursts + 1;
    write_offset[write_tail] = offset_of(awaddr);
    write_length[write_tail] = awlen;
    write_id[write_tail] = awid;
    write_response[write_tail] = OKAY;
    if (outside(offset_of(awaddr), awlen)) write_response[write_tail] = DECERR;
    else if (write_bursts == write_error_burst) write_response[write_tail] = write_error_response;
    write_tail = write_tail + 1;
    write_count = write_count + 1;
  endtask

  // A wrong burst has no data: its bytes read as zero. An error on one beat only leaves the others as they are.
  task automatic grant_read();
    bit [8*DATA_BYTES-1:0] data;
    bit last, bad;
    last = read_beat == int'(read_length[read_head]);
    bad = read_response[read_head] != OKAY && (read_bad_beat[read_head] < 0 || read_bad_beat[read_head] == read_beat);
    data = '0;
    if (!bad)
      systola_dram_read(read_offset[read_head] + (longint'(read_beat) << BEAT_LOG2), DATA_BYTES, data);
    rdata <= data;
    rresp <= bad ? read_response[read_head] : OKAY;
    rlast <= last;
    rid <= read_id[read_head];
    read_full = 1;
    read_beat = read_beat + 1;
    if (last) begin
      read_beat = 0;
      read_head = read_head + 1;
      read_count = read_count - 1;
    end
    credit = credit - BEAT_COST;
  endtask

  // Nothing is written by a burst that is answered with an error.
  task automatic grant_write();
    longint offset;
    bit last;
    offset = write_offset[write_head] + (longint'(write_beat) << BEAT_LOG2);
    last = write_beat == int'(write_length[write_head]);
    if (held_last != last) systola_protocol_error("WLAST is not on the last beat of the burst, or on another");
    if (write_response[write_head] == OKAY) systola_dram_write(offset, DATA_BYTES, held_data, held_strobes);
    if (write_beat == 0) write_first_cycle = run_cycle;
    write_full = 0;
    write_beat = write_beat + 1;
    if (last) begin
      if (trace_writes)
        systola_write_record(run, write_first_cycle, run_cycle, write_offset[write_head] + memory_base,
                             write_beat << BEAT_LOG2);
      write_beat = 0;
      answer_due[write_head] = now + latency - 1;
      answer_count = answer_count + 1;
      write_head = write_head + 1;
      write_count = write_count - 1;
    end
    credit = credit - BEAT_COST;
  endtask

  task automatic grant_beats(input bit read_wanted, input bit write_wanted);
    if (read_wanted && write_wanted && credit < 2 * BEAT_COST) begin
      if (credit >= BEAT_COST) begin
        if (write_first) grant_write();
        else grant_read();
        write_first = !write_first;
      end
    end else begin
      if (read_wanted && credit >= BEAT_COST) grant_read();
      if (write_wanted && credit >= BEAT_COST) grant_write();
    end
  endtask

  task automatic answer();
    bresp <= write_response[answer_head];
    bid <= write_id[answer_head];
    answer_full = 1;
    answer_head = answer_head + 1;
    answer_count = answer_count - 1;
  endtask

  task automatic check_offers();
    if (ar_offered && (!arvalid || ar_payload != {araddr, arlen}))
      systola_protocol_error("AR was withdrawn or changed before ARREADY");
    if (aw_offered && (!awvalid || aw_payload != {awaddr, awlen}))
      systola_protocol_error("AW was withdrawn or changed before AWREADY");
    if (w_offered && (!wvalid || w_payload != {wdata, wstrb, wlast}))
      systola_protocol_error("W was withdrawn or changed before WREADY");
    ar_offered = arvalid && !arready;
    aw_offered = awvalid && !awready;
    w_offered = wvalid && !wready;
    if (ar_offered) ar_payload = {araddr, arlen};
    if (aw_offered) aw_payload = {awaddr, awlen};
    if (w_offered) w_payload = {wdata, wstrb, wlast};
  endtask

  task automatic take_transfers();
    if (arvalid && arready) take_read_address();
    if (awvalid && awready) take_write_address();
    if (wvalid && wready) begin
      write_full = 1;
      held_data = wdata;
      held_strobes = wstrb;
      held_last = wlast;
    end
    if (rready) read_full = 0;
    if (bready) answer_full = 0;
  endtask

  // xorshift64 (Marsaglia 2003): a linear-feedback generator of period 2^64 - 1; each channel uses a byte of its own.
  task automatic step_random();
    random = random ^ (random << 13);
    random = random ^ (random >> 7);
    random = random ^ (random << 17);
  endtask

  always @(posedge clk) begin
    if (rst || reload) load_settings();
    if (rst) begin
      clear();
      arready <= 0;
      awready <= 0;
      wready <= 0;
    end else begin
      if (ar_offered || aw_offered || w_offered || (arvalid && !arready) || (awvalid && !awready) || (wvalid && !wready))
        check_offers();
      take_transfers();
      credit = credit + rate > credit_limit ? credit_limit : credit + rate;
      if (!trace_running) rest();
      if (stalls) step_random();
      grant_beats(read_count != 0 && !read_full && read_due[read_head] <= now && !(stalls && random[7:0] < stall_r),
                  write_full && write_count != 0);
      if (answer_count != 0 && !answer_full && answer_due[answer_head] <= now && !(stalls && random[15:8] < stall_b))
        answer();
      arready <= read_count < read_depth && !(stalls && random[23:16] < stall_ar);
      awready <= write_count + answer_count < write_depth && !(stalls && random[31:24] < stall_aw);
      wready <= !write_full && !(stalls && random[39:32] < stall_w);
      now = now + 1;
    end
    rvalid <= read_full;
    bvalid <= answer_full;
  end
endmodule
