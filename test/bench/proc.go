package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// stat is what /proc/PID/stat tells about a process.
type stat struct {
	ppid  int
	ticks int64 // CPU time of it and of the children it has reaped
}

const tick = 0.01 // seconds per clock tick in /proc

func readStat(pid int) (s stat, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	s.ppid, _ = strconv.Atoi(f[1])
	for _, v := range f[11:15] {
		n, _ := strconv.ParseInt(v, 10, 64)
		s.ticks += n
	}
	return s, true
}

// descendants lists every process below root, leaving out the trees in but.
func descendants(root int, but ...int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if s, ok := readStat(pid); ok {
			children[s.ppid] = append(children[s.ppid], pid)
		}
	}
	var all []int
	var walk func(int)
	walk = func(p int) {
		for _, c := range children[p] {
			if !slices.Contains(but, c) {
				all = append(all, c)
				walk(c)
			}
		}
	}
	walk(root)
	return all
}

// cpuTime is the CPU seconds of the processes.
func cpuTime(pids []int) float64 {
	var t int64
	for _, p := range pids {
		s, _ := readStat(p)
		t += s.ticks
	}
	return float64(t) * tick
}

// memory sums a field of a /proc/PID file over the processes, in KiB.
func memory(pids []int, file, field string) (kib int64) {
	for _, p := range pids {
		kib += procField(fmt.Sprintf("/proc/%d/%s", p, file), field)
	}
	return kib
}

func procField(file, field string) int64 {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return max(0, atoi([]byte(v)))
		}
	}
	return 0
}

// strays counts the threads of the processes that may run elsewhere than on cpus.
func strays(pids []int, cpus string) (n int) {
	for _, p := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil && !bytes.Contains(b, []byte("Cpus_allowed_list:\t"+cpus+"\n")) {
				n++
			}
		}
	}
	return n
}

// bind ties every thread of the processes to the CPUs: some programs widen the
// affinity they were started with.
func bind(pids, cpus []int) {
	var mask [16]uint64
	for _, c := range cpus {
		mask[c/64] |= 1 << (c % 64)
	}
	for _, p := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p))
		for _, t := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(t))
			_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
		}
	}
}

// busy is the CPU seconds that the listed CPUs spent not idle, whoever used them.
func busy(cpus []int) float64 {
	b, _ := os.ReadFile("/proc/stat")
	var t int64
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		for _, c := range cpus {
			if f[0] == "cpu"+strconv.Itoa(c) {
				for _, i := range []int{1, 2, 3, 6, 7, 8} { // user nice system irq softirq steal
					n, _ := strconv.ParseInt(f[i], 10, 64)
					t += n
				}
			}
		}
	}
	return float64(t) * tick
}

// cpuList reads a list such as 0,2-3.
func cpuList(s string) (list []int) {
	for part := range strings.SplitSeq(s, ",") {
		from, to, ok := strings.Cut(part, "-")
		a, _ := strconv.Atoi(from)
		b := a
		if ok {
			b, _ = strconv.Atoi(to)
		}
		for ; a <= b; a++ {
			list = append(list, a)
		}
	}
	return list
}
