package metrics_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"viaduct/metrics"
)

// busy are metrics in which everything has been counted.
func busy() *metrics.Metrics {
	m := metrics.New("test")
	f := m.Front("forward[0]")
	f.Opened()
	f.Refused(metrics.MaxConns)
	f.Exchange(metrics.Exchange{Status: 200, Fault: "dns_error", Received: 1, Sent: 1, Total: time.Second, Dial: time.Second})
	f.TunnelOpened(0)
	f.TunnelClosed(metrics.Tunnel{Duration: time.Second})
	f.Authenticated(metrics.AuthOK)
	f.Handshake(metrics.SideClient, true)
	f.Lane(metrics.LaneFast)
	rules := f.Rules([]string{"ads"})
	for p := range metrics.Phase(0xff) {
		rules.Decided(p, int(p)%2, metrics.Decision(p%3))
	}
	m.Reloaded(true)
	m.Panicked()
	m.PortsExhausted("203.0.113.7")
	m.Read(metrics.Readings{
		UpstreamIdle: func() int { return 1 },
		DNS:          func() metrics.DNS { return metrics.DNS{Hits: 1} },
		LogDropped:   func() uint64 { return 1 },
		Minted:       func() int { return 1 },
		Certificates: func() map[string]time.Time { return map[string]time.Time{"proxy.pem": time.Now()} },
		Lists:        func() map[string]metrics.ListSize { return map[string]metrics.ListSize{"ads.txt": {Names: 1}} },
		Pools: func() []metrics.Pool {
			return []metrics.Pool{{Name: "parents", Unavailable: unavailable(1), Endpoints: []metrics.Endpoint{{ID: "http://10.0.0.1:3128"}}}}
		},
	})
	return m
}

// unavailable has a count for each reason that a pool has for finding no way out.
func unavailable(n uint64) map[string]uint64 {
	counts := map[string]uint64{}
	for _, reason := range []string{"none", "full", "panicking", "queue_full", "queue_timeout", "limit", "pending", "throttle", "adaptive", "unreached"} {
		counts[reason] = n
	}
	return counts
}

// closed are the values of the labels, but for those that the configuration
// gives.
var closed = map[string][]string{
	"listener":  {"forward[0]"},
	"egress":    {"203.0.113.7"},
	"version":   {"test"},
	"goversion": nil, // whatever built it
	"fault":     tokens(),
	"code":      {"none", "1xx", "2xx", "3xx", "4xx", "5xx"},
	"reason":    {"max_conns", "max_conns_per_client", "descriptors", "none", "full", "panicking", "queue_full", "queue_timeout", "limit", "pending", "throttle", "adaptive", "unreached"},
	"pool":      {"parents"},
	"endpoint":  {"http://10.0.0.1:3128"},
	"reused":    {"true", "false"},
	"result":    {"ok", "failed", "hit", "miss", "stale", "shared", "missing", "wrong", "malformed", "throttled", "busy", "unavailable"},
	"phase":     {"client", "auth", "name", "port", "address", "sni", "filter"},
	"decision":  {"allow", "deny", "observe"},
	"rule":      {"", "ads"},
	"file":      {"ads.txt", "proxy.pem"},
	"side":      {"client", "inspected", "origin"},
	"lane":      {"fast", "library"},
}

// TestTableIsWhatIsGathered: no family is missing in the table, and none is
// there that nobody counts.
func TestTableIsWhatIsGathered(t *testing.T) {
	table := metrics.Table()
	list, err := busy().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	gathered := 0
	for _, f := range list {
		if !strings.HasPrefix(f.GetName(), "viaduct_") {
			continue
		}
		gathered++
		i := slices.IndexFunc(table, func(r metrics.Row) bool { return r.Name == f.GetName() })
		if i < 0 {
			t.Errorf("%s has no row", f.GetName())
			continue
		}
		row := table[i]
		if kind := strings.ToLower(f.GetType().String()); row.Type != kind || row.Help != f.GetHelp() {
			t.Errorf("%s is a %s (%s), its row says %s (%s)", row.Name, kind, f.GetHelp(), row.Type, row.Help)
		}
		want := slices.Sorted(slices.Values(row.Labels))
		for _, v := range f.GetMetric() {
			var labels []string
			for _, l := range v.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if !slices.Equal(labels, want) {
				t.Errorf("%s has the labels %v, its row says %v", row.Name, labels, want)
			}
		}
	}
	if gathered != len(table) {
		t.Errorf("%d families are gathered, the table has %d", gathered, len(table))
	}
}

// TestTableIsNobodysToChange: each caller has one of its own.
func TestTableIsNobodysToChange(t *testing.T) {
	mine := metrics.Table()
	for i := range mine {
		mine[i].Name = "x"
		for k := range mine[i].Labels {
			mine[i].Labels[k] = "x"
		}
	}
	for i, row := range metrics.Table() {
		if row.Name == "x" || slices.Contains(row.Labels, "x") {
			t.Errorf("row %d can be changed", i)
		}
	}
}

func TestLabelsAreClosedSets(t *testing.T) {
	list, err := busy().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if !strings.HasPrefix(f.GetName(), "viaduct_") {
			continue
		}
		for _, v := range f.GetMetric() {
			for _, l := range v.GetLabel() {
				set, known := closed[l.GetName()]
				if !known || set != nil && !slices.Contains(set, l.GetValue()) {
					t.Errorf("%s has %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// TestNamesFollowTheConventions: those of Prometheus, by its own linter, and
// those of the house.
func TestNamesFollowTheConventions(t *testing.T) {
	list, err := busy().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(list).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "viaduct_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	good := regexp.MustCompile(`^viaduct_[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, r := range metrics.Table() {
		if !good.MatchString(r.Name) || seen[r.Name] {
			t.Errorf("%s: not a name, or there twice", r.Name)
		}
		seen[r.Name] = true
		if (r.Type == "counter") != strings.HasSuffix(r.Name, "_total") {
			t.Errorf("%s is a %s", r.Name, r.Type)
		}
		if r.Type == "histogram" && !strings.HasSuffix(r.Name, "_seconds") {
			t.Errorf("%s does not name its unit", r.Name)
		}
		if !strings.HasSuffix(r.Help, ".") {
			t.Errorf("%s: %q is no sentence", r.Name, r.Help)
		}
		for _, unit := range []string{"_ms", "_milliseconds", "_kilobytes", "_kib", "_count", "_sum", "_bucket", "_minutes"} {
			if strings.Contains(r.Name+"_", unit+"_") {
				t.Errorf("%s: %s is no base unit, or has a meaning of its own", r.Name, unit)
			}
		}
	}
}
