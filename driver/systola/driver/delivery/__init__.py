"""What ``systola verilog`` writes: sources, constraints, projects and documentation for the tools of others."""
