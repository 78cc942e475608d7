package hop_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/hop"
)

// sound fails where a result is neither a shared refusal and nothing else, nor
// a target that is canonical.
func sound(t *testing.T, in []byte, got hop.Target, err error) {
	t.Helper()
	if err != nil {
		var e *fault.Error
		if !errors.As(err, &e) || got != (hop.Target{}) || e.Status() != 400 && e.Status() != 501 {
			t.Fatalf("%q: %+v beside %v", in, got, err)
		}
		return
	}
	if got.Port == 0 {
		t.Fatalf("%q: port 0", in)
	}
	addr, addrErr := netip.ParseAddr(got.Host)
	if got.Addr.IsValid() != (addrErr == nil) || got.Addr.IsValid() && (got.Addr != addr || addr.String() != got.Host) {
		t.Fatalf("%q: host %q with address %v", in, got.Host, got.Addr)
	}
	if !got.Addr.IsValid() {
		soundName(t, in, got.Host)
	}
	again, err := hop.ParseAuthority([]byte(got.String()))
	if err != nil || again != got {
		t.Fatalf("%q: %s reads back as %+v, %v", in, got, again, err)
	}
}

func soundName(t *testing.T, in []byte, host string) {
	t.Helper()
	if len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		t.Fatalf("%q: host %q", in, host)
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			t.Fatalf("%q: label %q", in, l)
		}
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		t.Fatalf("%q: %q may be an address", in, host)
	}
}

func seed(f *testing.F, form func(host string) string) {
	for _, c := range hosts {
		f.Add([]byte(form(c.in)))
	}
	for _, c := range badHosts {
		if len(c.in) < 1<<12 {
			f.Add([]byte(form(c.in)))
		}
	}
}

func FuzzParseAuthority(f *testing.F) {
	seed(f, func(h string) string { return h + ":443" })
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, err := hop.ParseAuthority(b)
		sound(t, b, got, err)
		if !bytes.Equal(b, before) {
			t.Fatalf("%q was changed to %q", before, b)
		}
		if err == nil && bytes.ContainsAny(b, "@/?#%\\ \t\r\n\x00") {
			t.Fatalf("%q was accepted as %s", b, got)
		}
		// A parser with a memory says the same, whatever it remembers.
		var p hop.Parser
		for _, first := range []string{"a.example:1", "127.0.0.1:1", "[::1]:1", string(b)} {
			_, _ = p.Authority([]byte(first))
			if again, againErr := p.Authority(b); again != got || !errors.Is(againErr, err) {
				t.Fatalf("%q after %q: %+v, %v, want %+v, %v", b, first, again, againErr, got, err)
			}
		}
	})
}

func FuzzParseAbsolute(f *testing.F) {
	seed(f, func(h string) string { return "http://" + h + "/p?q" })
	for _, s := range []string{"*", "/x", "https://h/", "ftp://h/", "http://h?x", "http://h#x", "http:///", "HTTP://h:1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, path, err := hop.ParseAbsolute(b)
		sound(t, b, got, err)
		if err != nil {
			if path != nil {
				t.Fatalf("%q: path %q beside an error", b, path)
			}
			return
		}
		if !bytes.HasSuffix(b, path) || len(path) != 0 && path[0] != '/' && path[0] != '?' {
			t.Fatalf("%q: path %q", b, path)
		}
		if i := bytes.IndexFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }); i >= 0 {
			t.Fatalf("%q: path %q", b, path)
		}
		// Authority and path are the two halves of the target, nothing between.
		authority := b[len("http://") : len(b)-len(path)]
		if host, err := hop.ParseHost(authority, 80); err != nil || host != got {
			t.Fatalf("%q: %+v, but its authority is %+v, %v", b, got, host, err)
		}
	})
}

func FuzzParseHost(f *testing.F) {
	seed(f, func(h string) string { return h })
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := hop.ParseHost(b, 80)
		sound(t, b, got, err)
		if err != nil {
			return
		}
		if again, err := hop.ParseHost(got.AppendHost(nil, 80), 80); err != nil || again != got {
			t.Fatalf("%q: %s reads back as %+v, %v", b, got.AppendHost(nil, 80), again, err)
		}
	})
}
