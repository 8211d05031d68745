// SPDX-License-Identifier: MIT

// The benchmarks' consumer with cilium/ebpf:
//
//	cilium read OBJECT (ring|perf) PAGES (unsafe|decode) EVENT_BYTES
//	cilium startup OBJECT
//	cilium maps OBJECT ENTRIES
//
// The first answers commands (see tests/benchmarks/consumer.py), the second ends with the first
// event, the third times operations on a hash map.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

// The structs of tests/benchmarks/programs/events.h.

type event48 struct {
	Timestamp uint64
	Cgroup    uint64
	Pid       uint32
	Tid       uint32
	Value     uint64
	Comm      [16]byte
}

type event128 struct {
	Timestamp uint64
	Cgroup    uint64
	Pid       uint32
	Tid       uint32
	Value     uint64
	Comm      [16]byte
	Ppid      uint32
	Uid       uint32
	Duration  uint64
	Filename  [64]byte
}

const (
	clockMonotonic      = 1
	clockProcessCPUTime = 2
	batchSize           = 10000
)

func now(clock uintptr) int64 {
	var spec syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&spec)), 0)
	return spec.Nano()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	check(rlimit.RemoveMemlock())
	arguments := os.Args[1:]
	switch {
	case len(arguments) == 6 && arguments[0] == "read":
		readEvents(arguments[1], arguments[2], number(arguments[3]), arguments[4], arguments[5])
	case len(arguments) == 2 && arguments[0] == "startup":
		startUp(arguments[1])
	case len(arguments) == 3 && arguments[0] == "maps":
		maps(arguments[1], uint32(number(arguments[2])))
	default:
		log.Fatal("usage: cilium read|startup|maps OBJECT ...")
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func load(path string) *ebpf.Collection {
	collection, err := ebpf.LoadCollection(path)
	check(err)
	return collection
}

func readEvents(path, buffer string, pages int, how, size string) {
	collection := load(path)
	fmt.Print("ready")
	for name, program := range collection.Programs {
		info, err := program.Info()
		check(err)
		id, _ := info.ID()
		fmt.Printf(" %s=%d", name, id)
	}
	fmt.Println()

	// Which struct the reader decodes into; none of them: it looks at the record in place.
	var events decoder
	if how == "decode" && size == "48" {
		events.small = new(event48)
	} else if how == "decode" {
		events.large = new(event128)
	}

	var consume func(latencies *[]int64) uint64
	if buffer == "ring" {
		reader, err := ringbuf.NewReader(collection.Maps["ring"])
		check(err)
		consume = func(latencies *[]int64) uint64 { return readRing(reader, events, latencies) }
	} else {
		reader, err := perf.NewReader(collection.Maps["perf"], pages*os.Getpagesize())
		check(err)
		consume = func(latencies *[]int64) uint64 { return readPerf(reader, events, latencies) }
	}

	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var latencies []int64
		var taken *[]int64
		if commands.Text() == "latency" {
			latencies = make([]int64, 0, 1000000)
			taken = &latencies
		}
		start := now(clockProcessCPUTime)
		sum := consume(taken)
		output := bufio.NewWriter(os.Stdout)
		fmt.Fprint(output, now(clockProcessCPUTime)-start, " ", sum)
		for _, latency := range latencies {
			fmt.Fprint(output, " ", latency)
		}
		fmt.Fprintln(output)
		output.Flush()
	}
}

func readRing(reader *ringbuf.Reader, events decoder, latencies *[]int64) (sum uint64) {
	var record ringbuf.Record
	for {
		check(reader.ReadInto(&record))
		event := events.decode(record.RawSample)
		if event.Value == 0 {
			return sum
		}
		sum += event.Value
		if latencies != nil {
			*latencies = append(*latencies, now(clockMonotonic)-int64(event.Timestamp))
		}
	}
}

func readPerf(reader *perf.Reader, events decoder, latencies *[]int64) (sum uint64) {
	var record perf.Record
	for {
		check(reader.ReadInto(&record))
		if record.LostSamples > 0 {
			continue
		}
		event := events.decode(record.RawSample)
		if event.Value == 0 {
			return sum
		}
		sum += event.Value
		if latencies != nil {
			*latencies = append(*latencies, now(clockMonotonic)-int64(event.Timestamp))
		}
	}
}

type decoder struct {
	small *event48
	large *event128
}

// decode gives the event that a record holds. Both structs begin alike.
func (events *decoder) decode(raw []byte) *event48 {
	if events.small != nil {
		_, err := binary.Decode(raw, binary.NativeEndian, events.small)
		check(err)
		return events.small
	}
	if events.large != nil {
		_, err := binary.Decode(raw, binary.NativeEndian, events.large)
		check(err)
		return (*event48)(unsafe.Pointer(events.large))
	}
	return (*event48)(unsafe.Pointer(&raw[0]))
}

func startUp(path string) {
	collection := load(path)
	reader, err := ringbuf.NewReader(collection.Maps["events"])
	check(err)
	attached, err := link.AttachTracing(link.TracingOptions{Program: collection.Programs["on_switch"]})
	check(err)
	defer attached.Close()
	_, err = reader.Read()
	check(err)
	fmt.Println(now(clockMonotonic), now(clockProcessCPUTime))
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Println(line)
		}
	}
}

func timed(name string, entries uint32, work func()) {
	start := now(clockProcessCPUTime)
	work()
	fmt.Printf("%s %f\n", name, float64(now(clockProcessCPUTime)-start)/float64(entries))
}

func checkSum(what string, total uint64, entries uint32) {
	if total != uint64(entries)*uint64(entries-1)/2 {
		log.Fatal("the sum is wrong: ", what)
	}
}

func maps(path string, entries uint32) {
	table := load(path).Maps["table"]
	timed("update", entries, func() {
		for key := range entries {
			check(table.Put(key, uint64(key)))
		}
	})
	var total uint64
	timed("lookup", entries, func() {
		var value uint64
		for key := range entries {
			check(table.Lookup(key, &value))
			total += value
		}
	})
	checkSum("look-ups", total, entries)
	total = 0
	timed("iterate", entries, func() {
		var key uint32
		var value uint64
		iterator := table.Iterate()
		for iterator.Next(&key, &value) {
			total += value
		}
		check(iterator.Err())
	})
	checkSum("iteration", total, entries)
	total = 0
	timed("batch lookup", entries, func() {
		var cursor ebpf.MapBatchCursor
		keys := make([]uint32, batchSize)
		values := make([]uint64, batchSize)
		for {
			count, err := table.BatchLookup(&cursor, keys, values, nil)
			for _, value := range values[:count] {
				total += value
			}
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return
			}
			check(err)
		}
	})
	checkSum("batches", total, entries)
	timed("batch update", entries, func() {
		keys := make([]uint32, batchSize)
		values := make([]uint64, batchSize)
		for start := uint32(0); start < entries; start += batchSize {
			for i := range keys {
				keys[i] = start + uint32(i)
				values[i] = uint64(start) + uint64(i)
			}
			_, err := table.BatchUpdate(keys, values, nil)
			check(err)
		}
	})
}
