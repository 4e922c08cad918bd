// A board: oscillator, memory, and a serial port whose other end is a file descriptor.
`timescale 1ns / 1ps
import "DPI-C" function int line_get();
import "DPI-C" function void line_put(input int data);

module bench;
  parameter real BIT = 1000;

  reg clock = 0, reset = 0, to_board = 1;
  wire from_board, keep_running;
  wire [7:0] lamps;
  wire sdram_clock, cke, cs_n, ras_n, cas_n, we_n;
  wire [1:0] bank, mask;
  wire [12:0] address;
  wire [15:0] written, read;
  wire pads_drive, memory_drives;
  always #20 clock = ~clock;

  systola_board board (
    .clock, .reset, .receive(to_board), .transmit(from_board), .lamps, .keep_running, .sdram_clock, .sdram_clock_enable(cke),
    .sdram_select_n(cs_n), .sdram_ras_n(ras_n), .sdram_cas_n(cas_n), .sdram_we_n(we_n), .sdram_bank(bank), .sdram_address(address),
    .sdram_mask(mask), .sdram_data()
  );
  sdram memory (
    .clk(sdram_clock), .cke, .cs_n, .ras_n, .cas_n, .we_n, .bank, .address, .mask, .written, .read, .driving(memory_drives)
  );

  // The data bus, pad by pad.
  `define PAD(n) assign written[n] = board.sdram_pad_``n.I; always @(read[n]) board.sdram_pad_``n.outside = read[n];
  `PAD(0) `PAD(1) `PAD(2) `PAD(3) `PAD(4) `PAD(5) `PAD(6) `PAD(7)
  `PAD(8) `PAD(9) `PAD(10) `PAD(11) `PAD(12) `PAD(13) `PAD(14) `PAD(15)
  assign pads_drive = !board.sdram_pad_0.T;

  always @(posedge clock) begin
    if (pads_drive && memory_drives) $fatal(1, "board and memory drive the data bus at once");
    if (!keep_running) $fatal(1, "keep_running is 0");
  end

  initial forever begin
    automatic int data = line_get();
    if (data < 0) #BIT;
    else begin
      to_board = 0;
      #BIT;
      for (int i = 0; i < 8; i++) begin
        to_board = data[i];
        #BIT;
      end
      to_board = 1;
      #BIT;
    end
  end

  initial forever begin
    automatic int data = 0;
    @(negedge from_board);
    #(BIT / 2) if (from_board) continue;
    for (int i = 0; i < 8; i++) #BIT data[i] = from_board;
    #BIT if (!from_board) $fatal(1, "a byte of the board has no stop bit");
    line_put(data);
  end
endmodule
