"""The companion: what computes, draws and checks every table and figure of both papers."""
