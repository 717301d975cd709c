"""The retrieval test: protocol, pools, scores, intervals, tables and figures."""
