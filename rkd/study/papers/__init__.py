"""What knows the two papers: their names, studies, tables and drawings."""

RIVALS = ("rrd", "rrd-top", "rce-kd", "dcd", "ir-rrd", "freqd")  # methods of neither paper
