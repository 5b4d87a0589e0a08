// Command speedtest measures the runner beside ninja, GNU make and, where they are
// installed, DVC and Snakemake. It is `make bench-runner`.
//
// A workload is a folder in which every contestant finds the same jobs in its own
// language. The contestants take turns within each round, so that what else the
// machine does hits all of them alike: ratios are medians of the rounds' own ratios, and
// CPU time, which hardly moves with the load, stands beside wall time.
package main
