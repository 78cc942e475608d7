package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"viaduct/probe"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		spec, canonical string
		want            probe.Check
	}{
		{"tcp", "", probe.Check{}},
		{"tls", "", probe.Check{Kind: probe.TLS}},
		{"none", "", probe.Check{Kind: probe.None}},
		{"http", "http:/", probe.Check{Kind: probe.HTTP, Path: "/"}},
		{"http:/healthz", "", probe.Check{Kind: probe.HTTP, Path: "/healthz"}},
		{"http:/a:b?c=d:e", "", probe.Check{Kind: probe.HTTP, Path: "/a:b?c=d:e"}},
		{"https:/healthz", "", probe.Check{Kind: probe.HTTP, Path: "/healthz", Secure: true}},
		{"grpc", "", probe.Check{Kind: probe.GRPC}},
		{"grpc:shop.Cart", "", probe.Check{Kind: probe.GRPC, Service: "shop.Cart"}},
		{"grpc+tls", "", probe.Check{Kind: probe.GRPC, Secure: true}},
		{"grpc+watch:shop.Cart", "", probe.Check{Kind: probe.GRPC, Service: "shop.Cart", Watch: true}},
		{"grpc+tls+watch", "", probe.Check{Kind: probe.GRPC, Secure: true, Watch: true}},
		{"connect:Example.COM:443", "connect:example.com:443", probe.Check{Kind: probe.Connect, Target: "example.com:443"}},
		{"connect:[2001:DB8:0::1]:443", "connect:[2001:db8::1]:443", probe.Check{Kind: probe.Connect, Target: "[2001:db8::1]:443"}},
		{"connect:bücher.example:443", "connect:xn--bcher-kva.example:443", probe.Check{Kind: probe.Connect, Target: "xn--bcher-kva.example:443"}},
		{"connect+tls:10.0.0.1:443", "", probe.Check{Kind: probe.Connect, Target: "10.0.0.1:443", Secure: true}},
		{"agent:9000", "", probe.Check{Kind: probe.Agent, Port: 9000}},
		{"agent:9000/state", "", probe.Check{Kind: probe.Agent, Port: 9000, Path: "/state"}},
		{"agent+tls:9000/", "", probe.Check{Kind: probe.Agent, Port: 9000, Path: "/", Secure: true}},
	} {
		got, err := probe.Parse(tt.spec)
		if err != nil {
			t.Errorf("%s: %v", tt.spec, err)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.spec, got, tt.want)
		}
		if tt.canonical == "" {
			tt.canonical = tt.spec
		}
		if s := got.String(); s != tt.canonical {
			t.Errorf("%s is written %s", tt.spec, s)
		}
	}
}

func TestParseSaysWhatToWrite(t *testing.T) {
	for _, tt := range []struct{ spec, want string }{
		{"", "write one of tcp, tls, http:/path"},
		{"TCP", "write one of tcp"},
		{"ping", "write one of tcp"},
		{"tcp:80", "write tcp"},
		{"none:", "ends with a colon"},
		{"http:", "ends with a colon"},
		{"http:healthz", "write one like /healthz"},
		{"http://host/healthz", "begins with one slash"},
		{"http:/a b", "percent-encoded"},
		{"http:/a\r\nX: y", "percent-encoded"},
		{"http:/a#b", "percent-encoded"},
		{"http:/ä", "percent-encoded"},
		{"http:/%zz", "percent-encoded"},
		{"http+tls:/", "write https"},
		{"https+tls:/", "write one of tcp"},
		{"http+:/", "+tls goes with"},
		{"tcp+tls", "+tls goes with"},
		{"grpc+", "+tls goes with"},
		{"grpc+watch+tls", "+watch behind it"},
		{"agent+watch:1", "+tls goes with"},
		{"grpc:a b", "write a name like"},
		{"grpc:\xff", "write a name like"},
		{"connect", "write host:port of a canary"},
		{"connect:example.com", "write host:port of a canary"},
		{"connect:a.example:0443", "leading zeros"},
		{"connect:127.1:443", "IPv4"},
		{"connect:0x7f000001:443", "IPv4"},
		{"connect:1.2.3:443", "IPv4"},
		{"connect:a..b:443", "not a valid name"},
		{"connect:.:443", "not a valid name"},
		{"connect:" + strings.Repeat("a", 64) + ".b:443", "not a valid name"},
		{"connect:example.com:https", "from 1 to 65535"},
		{"connect:example.com:0", "from 1 to 65535"},
		{"connect:example.com:65536", "from 1 to 65535"},
		{"connect::443", "which host"},
		{"connect:a b:443", "a space"},
		{"connect:a\r\nb:443", "a space"},
		{"connect:[fe80::1%eth0]:443", "a zone"},
		{"agent", "from 1 to 65535"},
		{"agent:/x", "from 1 to 65535"},
		{"agent:+1", "from 1 to 65535"},
		{"agent:80//x", "write one like"},
	} {
		c, err := probe.Parse(tt.spec)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want one with %q", tt.spec, err, tt.want)
		}
		if !reflect.DeepEqual(c, probe.Check{}) {
			t.Errorf("%q: %+v", tt.spec, c)
		}
	}
}

func TestValidate(t *testing.T) {
	well := peer(t, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	for _, tt := range []struct {
		c    probe.Check
		want string
	}{
		{probe.Check{Kind: probe.HTTP, Status: "2xx"}, "like 200-299,404"},
		{probe.Check{Kind: probe.HTTP, Status: "299-200"}, "like 200-299,404"},
		{probe.Check{Kind: probe.HTTP, Status: "200,"}, "like 200-299,404"},
		{probe.Check{Kind: probe.HTTP, Status: "20-99"}, "like 200-299,404"},
		{probe.Check{Kind: probe.HTTP, Body: "("}, "missing closing )"},
		{probe.Check{Kind: probe.HTTP, Method: "GET /"}, "write one like GET"},
		{probe.Check{Kind: probe.HTTP, Method: "CONNECT"}, "write one like GET"},
		{probe.Check{Kind: probe.HTTP, Path: "x"}, "like /healthz"},
		{probe.Check{Kind: probe.HTTP, Fields: []string{"X"}}, "write Name: value"},
		{probe.Check{Kind: probe.HTTP, Fields: []string{"X Y: z"}}, "write Name: value"},
		{probe.Check{Kind: probe.HTTP, Fields: []string{"X: a\r\nY: b"}}, "write Name: value"},
		{probe.Check{Kind: probe.HTTP, Fields: []string{"host: a"}}, "Host is not for a check to send"},
		{probe.Check{Kind: probe.HTTP, Fields: []string{"Transfer-Encoding: chunked"}}, "not for a check to send"},
		{probe.Check{Kind: probe.HTTP, Host: "a\r\nb"}, "write a name or an address"},
		{probe.Check{Kind: probe.HTTP, Host: "a/b"}, "write a name or an address"},
		{probe.Check{Kind: probe.HTTP, Host: "a b"}, "write a name or an address"},
		{probe.Check{Kind: probe.HTTP, Method: "HEAD", Body: "up"}, "an answer to HEAD has no body"},
		{probe.Check{Kind: probe.GRPC, Service: "a b"}, "write a name like"},
		{probe.Check{Kind: probe.Agent, Path: "x"}, "like /healthz"},
		{probe.Check{Kind: probe.Connect}, "write host:port"},
		{probe.Check{Expect: strings.Repeat("x", 1<<20)}, "65536 are looked at"},
		{probe.Check{Kind: 9}, "there is none"},
	} {
		if err := tt.c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one with %q", tt.c, err, tt.want)
		}
		fails(t, run(t, tt.c, well), tt.want)
		if tt.c.Kind == probe.GRPC {
			if err := tt.c.WatchRun(t.Context(), probe.Endpoint{Addr: well}, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("watched: %v", err)
			}
		}
	}
}

// TestWhatIsSentIsNotTold: passwords stand in fields, and errors and keys go to
// files and logs.
func TestWhatIsSentIsNotTold(t *testing.T) {
	for _, field := range []string{
		"Authorization: Bearer hunter2\x01", "Authorization Bearer hunter2", "Bearer hunter2: x",
		"hunter2\n: x", "Host: hunter2", ": hunter2", "Authorization: hunter2",
	} {
		for _, kind := range []probe.Kind{probe.HTTP, probe.Agent} {
			c := probe.Check{Kind: kind, Path: "/", Fields: []string{"A: b", field}, Send: "AUTH hunter2"}
			text := fmt.Sprint(c.Validate(), c.Run(t.Context(), probe.Endpoint{Addr: "127.0.0.1:1"}).Err, c.Key(), c.String())
			if strings.Contains(text, "hunter2") {
				t.Error(text)
			}
		}
	}
}

// TestKeysTellDefinitionsApart: each field of a definition makes another key,
// and the same definition made anew the same.
func TestKeysTellDefinitionsApart(t *testing.T) {
	one := newSigner(t, time.Now().Add(time.Hour))
	cert := one.issue(t, time.Now(), time.Now())
	definitions := func() []probe.Check {
		pool := x509.NewCertPool()
		pool.AddCert(one.cert)
		return []probe.Check{
			{},
			{Kind: probe.HTTP},
			{Host: "a"},
			{Port: 1},
			{Path: "a"},
			{Method: "a"},
			{Status: "a"},
			{Body: "a"},
			{Body: `a" method="b`},
			{Body: "a", Method: "b"},
			{Fields: []string{"a"}},
			{Fields: []string{"a", "b"}},
			{Fields: []string{`a" field="b`}},
			{Send: "a"},
			{Expect: "a"},
			{Service: "a"},
			{Watch: true},
			{Target: "a"},
			{Secure: true},
			{TLS: &tls.Config{}},
			{TLS: &tls.Config{ServerName: "a"}},
			{TLS: &tls.Config{InsecureSkipVerify: true}},
			{TLS: &tls.Config{MinVersion: tls.VersionTLS13}},
			{TLS: &tls.Config{NextProtos: []string{"a"}}},
			{TLS: &tls.Config{RootCAs: x509.NewCertPool()}},
			{TLS: &tls.Config{RootCAs: pool}},
			{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}},
		}
	}
	again := definitions()
	seen := make(map[string]int)
	for i, c := range definitions() {
		k := c.Key()
		if j, ok := seen[k]; ok {
			t.Errorf("%d and %d have the key %s", j, i, k)
		}
		seen[k] = i
		if again[i].Key() != k {
			t.Errorf("%d: %s, and made anew %s", i, k, again[i].Key())
		}
	}
	if a, b := (probe.Check{Timeout: 1}).Key(), (probe.Check{}).Key(); a != b {
		t.Errorf("how long it waits makes it another check: %s", a)
	}
}

// FuzzOutsideText: a specification that is read has one spelling and can be
// run; an agent may say anything.
func FuzzOutsideText(f *testing.F) {
	for _, s := range []string{"http:/healthz", "grpc+tls+watch:a.B", "connect:[::1]:1", "agent:1/x", "up 75%, maxconn:30 # hi", `{"state":"drain","weight":7}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := probe.Parse(s); err == nil {
			again, err := probe.Parse(c.String())
			if err != nil || !reflect.DeepEqual(c, again) || c.Validate() != nil {
				t.Errorf("%q is written %q, which is %+v (%v)", s, c, again, err)
			}
		}
		for _, r := range []probe.Result{probe.ReadLine(s), probe.ReadJSON(s)} {
			if r.Weight < -1 || r.Limit < -1 || len(r.Note) > 1000 || strings.ContainsAny(r.Note, "\x00\x1b\r\n") {
				t.Errorf("%q is read as %+v", s, r)
			}
			if r.Err == nil && r.Word == probe.NoWord && r.Weight < 0 && r.Limit < 0 {
				t.Errorf("%q says nothing, and passes", s)
			}
			if r.Err == nil && (r.Word == probe.SaysDown || r.Word == probe.SaysStopped) {
				t.Errorf("%q passes", s)
			}
		}
	})
}
