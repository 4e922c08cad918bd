// Models of the ECP5 cells that a board's top module instantiates. Delays are of the order that a slow part has.
`timescale 1ns / 1ps

// The PLL: clocks from the divider parameters, CLKOS later than CLKOP by the difference of their phases.
module EHXPLLL (
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP, ENCLKOS,
  output reg CLKOP = 0, CLKOS = 0, LOCK = 0
);
  parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "", OUTDIVIDER_MUXA = "", OUTDIVIDER_MUXB = "";
  parameter FEEDBK_PATH = "", CLKOP_ENABLE = "", CLKOS_ENABLE = "";
  parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0;
  parameter CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
  realtime first, period, vco;
  initial begin
    if (FEEDBK_PATH != "CLKOP" || CLKOS_DIV != CLKOP_DIV) $fatal(1, "EHXPLLL: not modelled");
    @(posedge CLKI) first = $realtime;
    @(posedge CLKI) period = ($realtime - first) * CLKI_DIV / CLKFB_DIV;
    vco = period / CLKOP_DIV;
    if (vco < 1.25 || vco > 2.5) $fatal(1, "EHXPLLL: the VCO's period is %f ns", vco);
    fork
      forever begin
        CLKOP = 1;
        #(period / 2) CLKOP = 0;
        #(period / 2);
      end
      begin
        #(vco * (CLKOS_CPHASE - CLKOP_CPHASE) + vco * (CLKOS_FPHASE - CLKOP_FPHASE) / 8);
        forever begin
          CLKOS = 1;
          #(period / 2) CLKOS = 0;
          #(period / 2);
        end
      end
      #1000 LOCK = 1;
    join
  end
endmodule

// A register at an output pin, and the pin.
module OFS1P3DX (input D, SP, SCLK, CD, output reg Q = 0);
  reg held = 0;
  always @(posedge SCLK) held <= D;
  always @(held) Q <= #3.0 held;
endmodule

// A clock at an output pin: 1 in the first half of the period.
module ODDRX1F (input D0, D1, SCLK, RST, output reg Q = 0);
  always @(posedge SCLK) Q <= #3.4 D0;
  always @(negedge SCLK) Q <= #3.4 D1;
endmodule

// A register at an input pin.
module IFS1P3DX (input D, SP, SCLK, CD, output reg Q = 0);
  always @(posedge SCLK) Q <= D;
endmodule

// A pad of both directions; what drives it from outside is set from there.
module BB (input I, T, output O, inout B);
  reg outside = 0;
  assign O = T ? outside : I;
endmodule
