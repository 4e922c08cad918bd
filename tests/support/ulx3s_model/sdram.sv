// A 256 Mbit SDRAM of 16 bits, with the strictest times of the parts that the board is sold with; what breaks one of them, or any
// other of the data sheets' rules, ends the simulation. Words of undefined times are wrong on purpose.
`timescale 1ns / 1ps
module sdram (
  input clk, cke, cs_n, ras_n, cas_n, we_n,
  input [1:0] bank,
  input [12:0] address,
  input [1:0] mask,
  input [15:0] written,
  output logic [15:0] read,
  output logic driving
);
  localparam realtime RCD = 20, RP = 20, RAS = 45, RC = 65, RFC = 70, WR = 14, POWER_UP = 200_000, REFRESH = 7812.5;
  localparam realtime SETUP = 1.5, HOLD = 0.8, ACCESS = 6.0, OUTPUT_HOLD = 2.7, BOARD = 2.0;

  logic [15:0] words[1 << 24];
  logic [3:0] open = 0;
  logic [12:0] row[4];
  realtime activated[4], precharged[4], written_at[4];
  realtime clocked = 0, refreshed = 0, moded = 0, started = 0;
  longint refreshes = 0;
  logic configured = 0;
  int first_refreshes = 0;
  logic [15:0] coming = 0, here = 0;
  logic is_coming = 0, is_here = 0;
  logic drives = 0;
  realtime data_changed = 0;
  logic data_held = 0;
  logic [15:0] shown = 0;

  initial begin
    for (int i = 0; i < 4; i++) begin
      activated[i] = -1000;
      precharged[i] = -1000;
      written_at[i] = -1000;
    end
  end

  // The way over the board.
  always @(shown) read <= #BOARD shown;
  always @(drives) driving <= #BOARD drives;

  task automatic broken(string rule);
    $display("SDRAM at %0.3f ns: %s", $realtime, rule);
    $fatal(1);
  endtask

  realtime changed = 0;
  always @(ras_n or cas_n or we_n or cs_n or bank or address or mask) changed = $realtime;
  always @(changed) if (cke && clocked > 0 && changed - clocked < HOLD) broken("hold time of a command");

  wire [2:0] command = {ras_n, cas_n, we_n};
  wire [23:0] place = {row[bank], bank, address[8:0]};
  always @(posedge clk) begin
    automatic realtime now = $realtime;
    clocked = now;
    if (cke && !cs_n) begin
      if (now - changed < SETUP) broken("setup time of a command");
      if (command != 3'b111) begin
        if (started == 0) started = now;
        if (now < POWER_UP) broken("a command before the end of power-up");
        if (refreshed > 0 && now - refreshed < RFC) broken("tRFC");
        if (moded > 0 && now - moded < 2 * 10) broken("tMRD");
      end
      case (command)
        3'b000: begin  // load mode
          if (open != 0 || first_refreshes < 2) broken("the mode is loaded too early");
          if (address != 13'h020) broken("the mode is not what this model has: CAS latency 2, bursts of 1");
          configured = 1;
          moded = now;
        end
        3'b001: begin  // refresh
          if (open != 0) broken("a refresh with an open row");
          for (int i = 0; i < 4; i++) if (now - precharged[i] < RP) broken("tRP before a refresh");
          first_refreshes++;
          if (configured) begin
            refreshes++;
            if (refreshes * REFRESH < now - moded - 8 * REFRESH) broken("too few refreshes");
          end
          refreshed = now;
        end
        3'b010: begin  // precharge
          for (int i = 0; i < 4; i++)
            if (open[i] && (address[10] || bank == i[1:0])) begin
              if (now - activated[i] < RAS) broken("tRAS");
              if (now - written_at[i] < WR) broken("tWR");
            end
          for (int i = 0; i < 4; i++) if (address[10] || bank == i[1:0]) begin
            open[i] = 0;
            precharged[i] = now;
          end
        end
        3'b011: begin  // activate
          if (!configured) broken("a row is opened before the mode is loaded");
          if (open[bank]) broken("an open row is opened");
          if (now - precharged[bank] < RP) broken("tRP");
          if (now - activated[bank] < RC) broken("tRC");
          if (now - refreshed > 9 * REFRESH) broken("no refresh for long");
          open[bank] = 1;
          row[bank] = address;
          activated[bank] = now;
        end
        3'b100: begin  // write
          if (!open[bank]) broken("a write to a closed row");
          if (now - activated[bank] < RCD) broken("tRCD");
          if (is_coming || is_here) broken("a write while a word that was read is on its way");
          if (address[10]) broken("automatic precharge is not modelled");
          if (now - data_changed < SETUP) broken("setup time of data");
          if (!mask[0]) words[place][7:0] = written[7:0];
          if (!mask[1]) words[place][15:8] = written[15:8];
          written_at[bank] = now;
          data_held = 1;
        end
        3'b101: begin  // read
          if (!open[bank]) broken("a read from a closed row");
          if (now - activated[bank] < RCD) broken("tRCD");
          if (address[10]) broken("automatic precharge is not modelled");
          if (mask != 0) broken("a word that is read is masked");
        end
        3'b111: ;
        default: broken("a command that is not modelled");
      endcase
    end
    if (command != 3'b100) data_held = 0;
    is_here = is_coming;
    here = coming;
    is_coming = cke && !cs_n && command == 3'b101;
    coming = words[place];
    // A word is there from ACCESS after the edge before its own until OUTPUT_HOLD after its own.
    if (is_here || drives) begin
      fork
        automatic logic show = is_here;
        automatic logic [15:0] word = here;
        begin
          #OUTPUT_HOLD shown = ~word;
          drives = show;
          if (show) #(ACCESS - OUTPUT_HOLD) shown = word;
        end
      join_none
    end
  end

  always @(written) begin
    data_changed = $realtime;
    if (data_held && clocked > 0 && data_changed - clocked < HOLD) broken("hold time of data");
  end
endmodule
