// What it needs in turn, the build adds to a copy of this file.
module bpfstream/benchmarks/cilium

go 1.25.0

require github.com/cilium/ebpf v0.22.0
