"""Verilog for people: a file for each unit, plain names, ports in the header, short expressions in one piece.

Simulations take ``systola.hw.emit`` instead, whose text is what compiles to the fastest model.
"""
