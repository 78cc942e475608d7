package parent_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/parent"
	"viaduct/wire"
)

func TestParseEndpoint(t *testing.T) {
	a := parent.Proxy{Host: "a", Port: 3128}
	login := parent.Proxy{Scheme: parent.SOCKS5, Host: "2001:db8::1", Port: 1080, User: "u ser", Password: parent.Hide("p@?->")}
	for _, tt := range []struct {
		in     string
		want   parent.Endpoint
		hidden string
	}{
		{"http://a:3128", parent.Endpoint{ID: "http://a:3128", Hops: []parent.Proxy{a}, Weight: 1}, "http://a:3128"},
		{" HTTP://A.:3128/ ", parent.Endpoint{ID: "http://a:3128", Hops: []parent.Proxy{a}, Weight: 1}, "http://a:3128"},
		{
			"http://a:3128?weight=3&zone=eu+1%26&max=100&id=first&tier=2",
			parent.Endpoint{},
			"",
		},
		{
			"http://a:3128?weight=3&zone=eu%261&max=100&id=first&tier=2",
			parent.Endpoint{ID: "first", Hops: []parent.Proxy{a}, Weight: 3, Zone: "eu&1", Tier: 2, Limit: 100},
			"http://a:3128?weight=3&zone=eu%261&tier=2&max=100&id=first",
		},
		{"http://a:3128/?backup=true", parent.Endpoint{ID: "http://a:3128", Hops: []parent.Proxy{a}, Weight: 1, Tier: 1}, "http://a:3128?tier=1"},
		{"http://a:3128?backup=false&weight=0", parent.Endpoint{ID: "http://a:3128", Hops: []parent.Proxy{a}}, "http://a:3128?weight=0"},
		{"http://a:3128?weight=1000000&id=http://a:3128", parent.Endpoint{ID: "http://a:3128", Hops: []parent.Proxy{a}, Weight: 1_000_000}, "http://a:3128?weight=1000000"},
		{
			"socks5h://u%20ser:p%40%3f-%3e@[2001:DB8::1]",
			parent.Endpoint{ID: "socks5://[2001:db8::1]:1080", Hops: []parent.Proxy{login}, Weight: 1},
			"socks5://u%20ser:***@[2001:db8::1]:1080",
		},
		{
			"http://a:3128->socks5://u%20ser:p%40%3F-%3E@[2001:db8::1]:1080?weight=2",
			parent.Endpoint{ID: "http://a:3128 -> socks5://[2001:db8::1]:1080", Hops: []parent.Proxy{a, login}, Weight: 2},
			"http://a:3128 -> socks5://u%20ser:***@[2001:db8::1]:1080?weight=2",
		},
		{"http://u@a:1", parent.Endpoint{ID: "http://a:1", Hops: []parent.Proxy{{Host: "a", Port: 1, User: "u"}}, Weight: 1}, "http://u@a:1"},
		{"http://:p@a:1", parent.Endpoint{ID: "http://a:1", Hops: []parent.Proxy{{Host: "a", Port: 1, Password: parent.Hide("p")}}, Weight: 1}, "http://:***@a:1"},
		{"direct", parent.Endpoint{ID: "direct", Weight: 1}, "direct"},
		{"direct?backup=true", parent.Endpoint{ID: "direct", Weight: 1, Tier: 1}, "direct?tier=1"},
		{"direct?id=direct", parent.Endpoint{ID: "direct", Weight: 1}, "direct"},
		{"direct?id=out", parent.Endpoint{ID: "out", Weight: 1}, "direct?id=out"},
	} {
		got, err := parent.ParseEndpoint(tt.in)
		if tt.want.ID == "" {
			if err == nil {
				t.Errorf("%q: %v", tt.in, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) || got.Hidden() != tt.hidden {
			t.Errorf("%q: %+v %q %v", tt.in, got, got.Hidden(), err)
		}
		if all := fmt.Sprintf("%v %+v %#v %s", got, got, &got, got.ID); strings.Contains(all, "p@?") {
			t.Error(all)
		}
		again(t, got)
	}
}

// again wants what Hidden shows to be the same endpoint, but for the passwords.
func again(t *testing.T, e parent.Endpoint) {
	t.Helper()
	got, err := parent.ParseEndpoint(e.Hidden())
	if err != nil {
		t.Errorf("%q: %v", e.Hidden(), err)
		return
	}
	for i := range got.Hops {
		got.Hops[i].Password = e.Hops[i].Password
	}
	if !reflect.DeepEqual(got, e) {
		t.Errorf("%q is read as %+v, not %+v", e.Hidden(), got, e)
	}
}

// TestParseEndpointSaysWhatToWrite: and shows no user and no password.
func TestParseEndpointSaysWhatToWrite(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "http://"},
		{"proxy:3128", "http://"},
		{"http://scott:hunter2@a:1?wieght=3", `"weight"`},
		{"http://scott:hunter2@a:1?Weight=3", `"weight"`},
		{"http://scott:hunter2@a:1?zones=3", `"zone"`},
		{"http://a:1?colour=3", "weight, zone, backup, tier, max, id"},
		{"http://a:1?" + strings.Repeat("weight", 9000) + "=3", "weight, zone"},
		{"http://scott:hunter2@a:1?weight", "NAME=VALUE"},
		{"http://scott:hunter2@a:1?", "NAME=VALUE"},
		{"http://a:1?weight=3&", "NAME=VALUE"},
		{"http://a:1?zone=%zz", "%25"},
		{"http://a:1?weight=3;zone=4", "0 to 1000000"},
		{"http://a:1?weight=-1", "0 to 1000000"},
		{"http://a:1?weight=1000001", "0 to 1000000"},
		{"http://a:1?weight=99999999999999999999", "0 to 1000000"},
		{"http://a:1?weight=", "0 to 1000000"},
		{"http://a:1?weight=1&weight=2", "twice"},
		{"http://a:1?tier=101", "0 to 100"},
		{"http://a:1?max=x", "unlimited"},
		{"http://a:1?backup=yes", "true or false"},
		{"http://a:1?backup=true&tier=1", "not both"},
		{"http://a:1?id=", "word"},
		{"http://a:1?id=a%20b", "word"},
		{"http://a:1?id=a%0d%0ab", "word"},
		{"http://a:1?id=%ff", "word"},
		{"http://a:1?zone=" + strings.Repeat("x", 201), "200"},
		{"http://a:1?id=direct", "without a parent"},
		{"direct:80", "stands alone"},
		{"direct://", "stands alone"},
		{"direct/", "stands alone"},
		{"direct -> http://a:1", "stands alone"},
		{"http://a:1 -> direct", "stands alone"},
		{"http://a:1 -> http://b:1 -> http://c:1", "two"},
		{"http://a:1 -> ", "two"},
		{"-> http://a:1", "two"},
		{"http://scott:hunter2@a:1?weight=2 -> http://b:1", "last"},
		{"http://scott:hunter?weight=2@a:1 -> http://b:1", "%40"},
		{"http://scott:hunter2?weight=3@a:1", "%3F"},
		{"http://scott:12?hunter2@a:1", "%3F"},
		{"http://scott:hunter2->x@a:1", "http://"},
		{"http://scott:hunter2@a:1?zone=1#2", "%23"},
		{"http://scott:hunter2@a:0", "port"},
		{"http://scott:hunter2@a:65536?weight=1", "port"},
		{"http://scott:hunter2@[::1%25lo]:1", "zone"},
	} {
		got, err := parent.ParseEndpoint(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 400 {
			t.Errorf("%.100q: %v %v, want something of %q", tt.in, got, err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "scott") {
			t.Errorf("%q: %v shows credentials", tt.in, err)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	for _, tt := range []struct{ user, password, want string }{
		{"", "", ""},
		{"Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
		{"", "x", "Basic Ong="},
		{"x", "", "Basic eDo="},
	} {
		if got := (parent.Proxy{User: tt.user, Password: parent.Hide(tt.password)}).BasicAuth(); got != tt.want {
			t.Errorf("%q:%q: %q", tt.user, tt.password, got)
		}
	}
}

// TestRefusedIsJudgedLikeCONNECT: and its reason is bounded, too.
func TestRefusedIsJudgedLikeCONNECT(t *testing.T) {
	says := func(status int, told string) error {
		h := &wire.Head{Status: status, Reason: []byte(strings.Repeat("x", 1000))}
		if told != "" {
			h.Fields = []wire.Field{{Name: []byte("Proxy-Status"), Value: []byte("other; error=" + told)}}
		}
		return parent.Refused(h)
	}
	judged(t, says(407, ""), fault.ConfigurationError, 500, parent.Us)
	judged(t, says(407, "connection_refused"), fault.ConfigurationError, 500, parent.Us)
	judged(t, says(403, ""), fault.RequestDenied, 403, parent.Target)
	judged(t, says(421, ""), fault.LoopDetected, 421, parent.Us)
	judged(t, says(503, ""), fault.DestinationUnavailable, 503, parent.Target)
	judged(t, says(502, "connection_refused"), fault.ConnectionRefused, 502, parent.Target)
	judged(t, says(503, "connection_limit_reached"), fault.DestinationUnavailable, 502, parent.Parent)
	judged(t, says(500, ""), fault.DestinationUnavailable, 502, parent.Target)
	r, ok := errors.AsType[*parent.RefusedError](says(407, ""))
	if !ok || r.Status != 407 || len(r.Reason) != 100 {
		t.Errorf("%+v", r)
	}
}
