"""A design that takes seconds to synthesize and route, written as the accelerator's Verilog is: a top of named parts."""

from __future__ import annotations

__all__ = ["small_design"]


def small_design(products: int = 1) -> str:
    """A counter, and ``products`` products of two registers each, joined: ``systola`` of ``counter`` and ``products``."""
    wide = 8 * products
    operands = "\n".join(
        f"  always @(posedge clk) begin left[{8 * n + 7}:{8 * n}] <= a ^ {n}; right[{8 * n + 7}:{8 * n}] <= b + {n}; "
        f"product{n} <= $signed(left[{8 * n + 7}:{8 * n}]) * $signed(right[{8 * n + 7}:{8 * n}]); end"
        for n in range(products)
    )
    declared = ", ".join(f"product{n}" for n in range(products))
    joined = " ^ ".join(f"product{n}" for n in range(products))
    return f"""\
module systola(clk, rst, a, b, y, q);
  input clk, rst;
  input [7:0] a, b;
  output [15:0] y;
  output [15:0] q;
  \\systola.counter  counter (
    .clk(clk),
    .rst(rst),
    .count(q)
  );
  \\systola.products  products (
    .clk(clk),
    .a(a),
    .b(b),
    .y(y)
  );
endmodule

module \\systola.counter (clk, rst, count);
  input clk, rst;
  output reg [15:0] count;
  reg [15:0] step;
  always @(posedge clk)
    if (rst) begin step <= 0; count <= 0; end
    else begin step <= step + 3; count <= count + step; end
endmodule

module \\systola.products (clk, a, b, y);
  input clk;
  input [7:0] a, b;
  output reg [15:0] y;
  reg [{wide - 1}:0] left, right;
  reg signed [15:0] {declared};
{operands}
  always @(posedge clk) y <= {joined};
endmodule
"""
