package overload_test

import (
	"testing"
	"time"

	"viaduct/overload"
)

// calls are what a request calls, in the state in which that costs most.
func calls() []struct {
	name string
	call func()
} {
	var budget, spent overload.Budget
	var throttle, throttling overload.Throttle
	var gradient overload.Gradient
	circuit := overload.NewCircuit(overload.Limits{Requests: 100})
	now := time.Hour
	for range 1000 {
		throttle.Report(now, true)
		throttling.Report(now, false)
	}
	drain(&spent, now)
	return []struct {
		name string
		call func()
	}{
		{"budget_request", func() { now += time.Microsecond; budget.Request(now) }},
		{"budget_take", func() { now += time.Millisecond; budget.Take(now) }},
		{"budget_take_refused", func() { spent.Take(time.Hour) }},
		{"throttle_admit", func() { throttle.Admit(time.Hour) }},
		{"throttle_admit_refusing", func() { throttling.Admit(time.Hour) }},
		{"throttle_report", func() { now += time.Microsecond; throttle.Report(now, true) }},
		{"circuit", func() { circuit.Acquire(overload.Requests); circuit.Release(overload.Requests) }},
		{"gradient", func() {
			now += time.Millisecond
			gradient.Acquire()
			gradient.Release(now, time.Millisecond, overload.Served)
		}},
	}
}

func TestNothingIsAllocated(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for _, c := range calls() {
		if n := testing.AllocsPerRun(2000, c.call); n > 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkGuards(b *testing.B) {
	for _, c := range calls() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call()
			}
		})
	}
}

// BenchmarkTogether is what one request asks of all guards, on all cores.
func BenchmarkTogether(b *testing.B) {
	var budget overload.Budget
	var throttle overload.Throttle
	var gradient overload.Gradient
	var circuit overload.Circuit
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for now := time.Duration(0); pb.Next(); now += time.Microsecond {
			budget.Request(now)
			if !throttle.Admit(now) || !circuit.Acquire(overload.Requests) {
				b.Error("refused")
			}
			if gradient.Acquire() {
				gradient.Release(now, time.Millisecond, overload.Served)
			}
			circuit.Release(overload.Requests)
			throttle.Report(now, true)
		}
	})
}
