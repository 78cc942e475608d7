package display_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"viaduct/display"
	"viaduct/health"
	"viaduct/metrics"
	"viaduct/pool"
)

// status is what is shown.
func status(t testing.TB, pools ...pool.View) string {
	t.Helper()
	var b strings.Builder
	if err := display.Status(&b, "1.2.3", pools); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// well is an endpoint with nothing against it.
func well(id string) pool.EndpointView {
	return pool.EndpointView{
		View:   health.View{ID: id, Standing: "ready", Admin: "ready", Discovery: "present", Own: "nothing", Active: "up", Passive: "ok", InFlight: 3},
		Weight: 1, Picks: 12345, Failures: 2, Cost: 12345 * time.Microsecond,
	}
}

func parents(list ...pool.EndpointView) pool.View {
	return pool.View{Name: "parents", Balance: "p2c_ewma", InFlight: 3, Retries: pool.RetriesView{Taken: 4, Refused: 1, Left: 10}, Hedges: 2, Endpoints: list}
}

func TestStatusWithoutPools(t *testing.T) {
	if got, want := status(t), "viaduct 1.2.3\nno pools: every request goes out directly\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestStatusIsATable(t *testing.T) {
	sick := well("socks5://proxy.example:1080")
	sick.Standing, sick.Active, sick.Reason, sick.Zone, sick.Tier, sick.Resting, sick.InFlight, sick.Cost = "sick", "down", "down: tcp: connection refused", "a", 1, 12, 0, 0
	sick.Checks = []health.Seen{{Check: "tcp", State: "down", Error: "tcp: connection refused"}, {Check: "http", State: "falling", Streak: 1, Needed: 3, Error: "status 503"}}
	sick.Part = 0.255
	full := well("http://[2001:db8::1]:3128")
	full.InFlight, full.Limit, full.Reason, full.RestsEverywhere = 100, 100, "it rests: 407", true
	backup := parents()
	backup.Name, backup.Waiting, backup.Unavailable = "empty", 7, map[string]uint64{"none": 5, "full": 0, "limit": 1}
	backup.Requests, backup.Pending = pool.GuardView{InUse: 5, Limit: 10, Refused: 6}, pool.GuardView{Refused: 1}
	backup.Adaptive, backup.Throttle = &pool.GuardView{InUse: 1, Limit: 20}, &pool.ThrottleView{Chance: 0.255, Refused: 9}
	const want = `viaduct 1.2.3

pool parents: p2c_ewma, 3 in flight; retries 4, refused 1, left 10; hedges 2
  ENDPOINT                     STATE  WEIGHT     BUSY  REQUESTS  FAILED  LATENCY  RESTS
  http://10.0.0.1:3128         ready       1        3     12345       2   12.3ms      0
    admin ready  discovery present   checks up       requests ok       capacity free
  socks5://proxy.example:1080  sick        1        0     12345       2        -     12
    admin ready  discovery present   checks down     requests ok       capacity 26%  tier 1  zone a
    down: tcp: connection refused
    check http: status 503
    check http: failed 1 of 3 times
  http://[2001:db8::1]:3128    ready       1  100/100     12345       2   12.3ms    all
    admin ready  discovery present   checks up       requests ok       capacity full
    it rests: 407

pool empty: p2c_ewma, 3 in flight, 7 waiting; retries 4, refused 1, left 10; hedges 2
  guards: requests 5/10, refused 6; connects 0/0, refused 1; adaptive 1/20, refused 0; throttle 26%, refused 9
  without a way out: limit 1, none 5
  no endpoints
`
	if got := status(t, parents(well("http://10.0.0.1:3128"), sick, full), backup); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStatusTellsWhy: of each fact that is not as it should be.
func TestStatusTellsWhy(t *testing.T) {
	for _, c := range []struct {
		change func(e *pool.EndpointView)
		want   string
	}{
		{func(e *pool.EndpointView) { e.Admin, e.Standing, e.Reason = "drain", "affine", "draining, says eve" }, "admin drain  discovery present   checks up       requests ok       capacity free\n    draining, says eve\n"},
		{func(e *pool.EndpointView) { e.Discovery = "draining" }, "discovery draining  "},
		{func(e *pool.EndpointView) { e.Active = "falling" }, "checks falling  requests ok  "},
		{func(e *pool.EndpointView) {
			e.Passive, e.Ends = "ejected", time.Date(2026, 11, 24, 15, 4, 5, 0, time.Local)
		}, "requests ejected  capacity free\n    ejected until 15:04:05\n"},
		{func(e *pool.EndpointView) { e.Passive, e.Errors = "probing", 5 }, "requests probing  capacity free\n    one request at a time, until one has told how it is\n    5 errors in a row\n"},
		{func(e *pool.EndpointView) { e.Reason, e.Weight = "its weight is 0", 0 }, "    its weight is 0\n"},
	} {
		e := well("a")
		c.change(&e)
		if got := status(t, parents(e)); !strings.Contains(got, c.want) {
			t.Errorf("no %q in\n%s", c.want, got)
		}
	}
}

// TestStatusFitsAHundredColumns, with ten endpoints of usual names, and long ones
// keep a line of their own.
func TestStatusFitsAHundredColumns(t *testing.T) {
	var list []pool.EndpointView
	for i := range 10 {
		e := well(fmt.Sprintf("https://parent-%d.proxy.example.com:3128", i))
		e.Standing, e.Active, e.Passive, e.Discovery, e.Admin, e.Tier, e.Zone = "affine", "unknown", "ejected", "draining", "maint", 1, "a"
		e.InFlight, e.Limit, e.Picks, e.Failures, e.Weight, e.Cost = 100, 100, 12345678, 123456, 100, 999*time.Millisecond
		list = append(list, e)
	}
	chain := well("https://first.proxy.example.com:3128 -> socks5://second.proxy.example.com:1080")
	text := status(t, parents(append(list, chain)...))
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line) - 1; n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"  " + chain.ID + "\n                           ", "\n  https://parent-9.proxy.example.com:3128  affine     100  100/100  12345678  123456  999.0ms      0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 3+1+2*10+3 {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

func TestLatency(t *testing.T) {
	for cost, want := range map[time.Duration]string{
		-1: "-", 0: "-", 1: "0us", 999 * time.Microsecond: "999us", time.Millisecond: "1.0ms", 999949 * time.Microsecond: "999.9ms", time.Second: "1.00s", time.Hour: "3600.00s",
	} {
		e := well("a")
		e.Cost = cost
		if got := status(t, parents(e)); !strings.Contains(got, "  "+want+"      0\n") {
			t.Errorf("%v: no %s in\n%s", cost, want, got)
		}
	}
}

// TestStatusShowsNoControls: what an instance tells may come from anywhere.
func TestStatusShowsNoControls(t *testing.T) {
	for _, hostile := range []string{"\x1b[2J\x1b]0;x\a", "a\tb", "a\nready", "a\rb", "\u202eevil", "\x00", "\u0085", "\u2028", "\xff"} {
		e := well(hostile)
		for _, field := range []*string{&e.Standing, &e.Admin, &e.Discovery, &e.Active, &e.Passive, &e.Reason, &e.Zone} {
			*field = hostile
		}
		e.Checks = []health.Seen{{Check: hostile, State: "falling", Error: hostile + "!"}}
		p := parents(e)
		p.Name, p.Balance, p.Unavailable = hostile, hostile, map[string]uint64{hostile: 1}
		var b strings.Builder
		if err := display.Status(&b, hostile, []pool.View{p}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\t\r\x00\a\u202e\u0085\u2028") || strings.Count(b.String(), "\n") != 3+2+2+3 || !utf8.ValidString(b.String()) {
			t.Errorf("%q: it prints\n%s", hostile, b.String())
		}
	}
}

// broken is a terminal that has gone.
type broken struct{}

var errGone = errors.New("gone")

func (broken) Write([]byte) (int, error) { return 0, errGone }

func TestWhoCannotBeToldIsAnError(t *testing.T) {
	if err := display.Status(broken{}, "", nil); !errors.Is(err, errGone) {
		t.Error(err)
	}
	if err := display.Explanations(broken{}, nil); !errors.Is(err, errGone) {
		t.Error(err)
	}
}

// TestTheTableOfMetricsNamesEveryReason that a pool counts.
func TestTheTableOfMetricsNamesEveryReason(t *testing.T) {
	for _, row := range metrics.Table() {
		if row.Name != "viaduct_pool_unavailable_total" {
			continue
		}
		for _, reason := range pool.Reasons() {
			if !strings.Contains(row.Help, reason) {
				t.Errorf("%q does not tell of %q", row.Help, reason)
			}
		}
		return
	}
	t.Error("there is no such row")
}
