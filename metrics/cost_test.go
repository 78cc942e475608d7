package metrics_test

import (
	"testing"
	"time"

	"viaduct/metrics"
)

var exchanges = map[string]metrics.Exchange{
	"reused":  {Status: 200, Received: 100, Sent: 1024, Total: 60 * time.Microsecond, Reused: true},
	"slow":    {Status: 200, Sent: 1024, Total: 20 * time.Second, Reused: true},
	"dialled": {Status: 200, Sent: 1024, Total: 300 * time.Microsecond, Dial: 100 * time.Microsecond},
	"fault":   {Status: 502, Fault: "http_response_header_section_size", Total: time.Second, Dial: time.Second},
}

func TestCountingAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	f := metrics.New("test").Front("f")
	past, rules := f.Rules([]string{"a"}), f.Rules([]string{"a", "b"})
	for name, e := range exchanges {
		if n := testing.AllocsPerRun(1000, func() { f.Exchange(e) }); n != 0 {
			t.Errorf("an exchange, %s: %v allocations", name, n)
		}
	}
	for name, do := range map[string]func(){
		"a connection": func() { f.Opened(); f.Closed(); f.Refused(metrics.MaxConns) },
		"a tunnel": func() {
			f.TunnelOpened(time.Second)
			f.TunnelClosed(metrics.Tunnel{Fault: "dns_error", Received: 1, Sent: 1, Duration: time.Second})
		},
		"a decision":             func() { rules.Decided(metrics.PhaseName, 1, metrics.Denied) },
		"a decision by no rule":  func() { rules.Decided(metrics.PhaseAddress, -1, metrics.Allowed) },
		"a decision of the past": func() { past.Decided(metrics.PhaseName, 0, metrics.Observed) },
		"a handshake":            func() { f.Handshake(metrics.SideOrigin, false) },
		"a lane":                 func() { f.Lane(metrics.LaneLibrary) },
		"an authentication":      func() { f.Authenticated(metrics.AuthOK) },
	} {
		if n := testing.AllocsPerRun(1000, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for name, e := range exchanges {
		b.Run(name, func(b *testing.B) {
			f := metrics.New("test").Front("f")
			b.ReportAllocs()
			for b.Loop() {
				f.Exchange(e)
			}
		})
	}
}

// BenchmarkExchangeOnAllCores is the worst case: every core does nothing but
// count, on one listener.
func BenchmarkExchangeOnAllCores(b *testing.B) {
	f, e := metrics.New("test").Front("f"), exchanges["reused"]
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			f.Exchange(e)
		}
	})
}

func BenchmarkDecided(b *testing.B) {
	r := metrics.New("test").Front("f").Rules([]string{"a", "b"})
	for b.Loop() {
		r.Decided(metrics.PhaseName, 1, metrics.Denied)
	}
}

// BenchmarkScrapeOfManyRules is with a thousand that have decided something.
func BenchmarkScrapeOfManyRules(b *testing.B) {
	m := metrics.New("test")
	r := m.Front("forward[0]").Rules(manyRules())
	for i := range 1000 {
		r.Decided(metrics.PhaseName, i, metrics.Denied)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Gatherer().Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	m := metrics.New("test")
	m.Front("forward[0]")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Gatherer().Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
