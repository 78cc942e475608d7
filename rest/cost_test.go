package rest_test

import (
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/rest"
)

// busy is a full table in which half of the destinations have a way that rests.
func busy(n int) (*rest.Table[int], []rest.Destination) {
	table := new(rest.Table[int])
	list := make([]rest.Destination, n)
	for i := range list {
		list[i] = rest.Destination{Host: "www" + strconv.Itoa(i) + ".site.example", Port: 443}
		if i%2 == 0 {
			table.Rest(list[i], i%4, 0, time.Hour)
		}
	}
	table.Rest(everywhere, 9, 0, time.Hour)
	return table, list
}

func TestAskingAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	full, list := busy(8000)
	dst := make([]int, 0, 8)
	for name, table := range map[string]*rest.Table[int]{"empty": new(rest.Table[int]), "busy": full} {
		i := 0
		if a := testing.AllocsPerRun(1000, func() {
			to := list[i%len(list)]
			i++
			dst = table.Resting(to, 1, dst[:0])
			_ = table.Rests(to, 1, 1)
			table.Well(to, 5, 1)
			_, _ = table.Count(1, 1)
		}); a > 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
	i := 0
	if a := testing.AllocsPerRun(1000, func() {
		full.Rest(list[2*i], 2*i%4, 2, time.Hour)
		i++
	}); a > 0 {
		t.Errorf("a pair that is there: %v allocations", a)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	table := new(rest.Table[int])
	long := strings.Repeat("x", 240)
	before := heap()
	for i := range 50_000 {
		table.Rest(rest.Destination{Host: long + strconv.Itoa(i)}, i%7, time.Duration(i), time.Hour)
	}
	if grown := heap() - before; grown > 4096*1024 {
		t.Errorf("%d bytes for each pair", grown/4096)
	}
	runtime.KeepAlive(table)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyAtOnce is for the race detector; what is left at the end is exact.
func TestManyAtOnce(t *testing.T) {
	table := &rest.Table[int]{Size: 64}
	const workers, rounds = 8, 3000
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			var dst []int
			for i := range rounds {
				to, now := rest.Destination{Port: uint16(i % 97)}, time.Duration(i)*time.Millisecond
				switch i % 5 {
				case 0, 1:
					table.Rest(to, w, now, time.Hour)
				case 2:
					table.Well(to, (w+1)%workers, now)
				case 3:
					dst = table.Resting(to, now, dst[:0])
					_ = table.Rests(to, w, now)
				default:
					if n, _ := table.Count(w, now); n > 64 {
						t.Errorf("%d pairs", n)
					}
					if i%250 == 4 {
						table.Forget(w)
					}
				}
			}
			table.Forget(w)
		})
	}
	all.Wait()
	for w := range workers {
		all.Go(func() { table.Rest(site, w, rounds*time.Millisecond, time.Hour) })
	}
	all.Wait()
	if got := table.Resting(site, rounds*time.Millisecond, nil); len(got) != workers {
		t.Errorf("%v rest, want all %d", got, workers)
	}
	for w := range workers {
		table.Well(site, w, time.Minute)
		if n, everywhere := table.Count(w, rounds*time.Millisecond); n != 0 || everywhere {
			t.Errorf("way %d rests for %d, everywhere: %v", w, n, everywhere)
		}
	}
}

func BenchmarkEmpty(b *testing.B) {
	_, list := busy(8000)
	ask(b, new(rest.Table[int]), list)
}

func BenchmarkBusy(b *testing.B) {
	table, list := busy(8000)
	ask(b, table, list)
}

// ask is what a request asks.
func ask(b *testing.B, table *rest.Table[int], list []rest.Destination) {
	b.ReportAllocs()
	dst := make([]int, 0, 8)
	for i := 0; b.Loop(); i++ {
		to := list[i%len(list)]
		dst = table.Resting(to, 1, dst[:0])
		table.Well(to, 5, 1)
	}
}

func BenchmarkRest(b *testing.B) {
	table, list := busy(20_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Rest(list[i%len(list)], i%4, time.Duration(i), time.Second)
	}
}
