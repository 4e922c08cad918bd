// A look-up table as what it is, a table: what yosys' own model says with multiplexers, in a form that simulates faster.
module LUT4(input A, B, C, D, output Z);
  parameter [15:0] INIT = 16'h0000;
  \$lut #(.WIDTH(4), .LUT(INIT)) _TECHMAP_REPLACE_ (.A({D, C, B, A}), .Y(Z));
endmodule
