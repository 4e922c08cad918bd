// A systolic array alone, to compare simulation speed with: weight-stationary, int8 × int8 → int32, nothing around it.
//
// The textbook form: activations move right, partial sums move down, a cycle each; every processing element holds the weight in
// use and the next one. Next weights are shifted in from above while pixels stream; a swap travels with a pass's first pixel.
module array_only #(
    parameter int ROWS = 16,
    parameter int COLUMNS = 16
) (
    input  logic clk,
    input  logic valid,  // a pixel enters: row r's activation must come r cycles later
    input  logic swap,  // with a pixel: it is the first that the next weights are for
    input  logic signed [7:0] activations[ROWS],
    input  logic shift,  // next weights move down a row, a new one comes in
    input  logic signed [7:0] weights[COLUMNS],
    output logic sums_valid[COLUMNS],  // column c's sum of a pixel comes ROWS + c cycles after the pixel
    output logic signed [31:0] sums[COLUMNS]
);
  logic signed [7:0] activation[ROWS][COLUMNS];
  logic signed [7:0] weight[ROWS][COLUMNS];
  logic signed [7:0] next[ROWS][COLUMNS];
  logic signed [31:0] sum[ROWS][COLUMNS];
  logic [ROWS+COLUMNS-1:0] valids, swaps;  // bit n: a pixel, or a swap, on the n-th diagonal

  wire [ROWS+COLUMNS-1:0] valid_now = {valids[ROWS+COLUMNS-2:0], valid};
  wire [ROWS+COLUMNS-1:0] swap_now = {swaps[ROWS+COLUMNS-2:0], swap};

  always_ff @(posedge clk) begin
    valids <= valid_now;
    swaps <= swap_now;
    for (int r = 0; r < ROWS; r++) begin
      for (int c = 0; c < COLUMNS; c++) begin
        automatic logic signed [7:0] a = c == 0 ? activations[r] : activation[r][c-1];
        automatic logic signed [7:0] w = swap_now[r+c] ? next[r][c] : weight[r][c];
        if (swap_now[r+c]) weight[r][c] <= next[r][c];
        if (shift) next[r][c] <= r == 0 ? weights[c] : next[r-1][c];
        if (valid_now[r+c]) begin
          activation[r][c] <= a;
          sum[r][c] <= (r == 0 ? 0 : sum[r-1][c]) + 32'(16'(a) * 16'(w));
        end
      end
    end
  end

  for (genvar c = 0; c < COLUMNS; c++) begin : bottom
    assign sums[c] = sum[ROWS-1][c];
    assign sums_valid[c] = valids[ROWS-1+c];
  end
endmodule
