package metrics_test

import (
	"testing"

	"viaduct/metrics"
)

func TestHandshakesAreCounted(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	if n := count(scrape(t, m), "tls_handshakes_total{"); n != 3*2 {
		t.Errorf("%d series are there from the start, want each side and result", n)
	}
	f.Handshake(metrics.SideClient, true)
	f.Handshake(metrics.SideClient, true)
	f.Handshake(metrics.SideClient, false)
	f.Handshake(metrics.SideInspected, true)
	f.Handshake(metrics.SideOrigin, false)
	f.Handshake(3, true) // there is no such side
	f.Handshake(0xff, false)
	m.Front("g").Handshake(metrics.SideOrigin, true)
	scrape(t, m).want(t,
		`tls_handshakes_total{listener="f",result="ok",side="client"} 2`,
		`tls_handshakes_total{listener="f",result="failed",side="client"} 1`,
		`tls_handshakes_total{listener="f",result="ok",side="inspected"} 1`,
		`tls_handshakes_total{listener="f",result="failed",side="origin"} 1`,
		`tls_handshakes_total{listener="g",result="ok",side="origin"} 1`,
	)
}

func TestLanesAreCounted(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	if n := count(scrape(t, m), "requests_by_lane_total{"); n != 2 {
		t.Errorf("%d series are there from the start, want each lane", n)
	}
	f.Lane(metrics.LaneFast)
	f.Lane(metrics.LaneLibrary)
	f.Lane(metrics.LaneLibrary)
	f.Lane(2) // there is no such lane
	f.Lane(0xff)
	scrape(t, m).want(t, `requests_by_lane_total{lane="fast",listener="f"} 1`, `requests_by_lane_total{lane="library",listener="f"} 2`)
	if metrics.Side(3).String() != "" || metrics.Lane(2).String() != "" || metrics.SideOrigin.String() != "origin" || metrics.LaneFast.String() != "fast" {
		t.Error("what is none has a name, or what is one has none")
	}
}
