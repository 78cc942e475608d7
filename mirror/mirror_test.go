package mirror_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/hop"
	"viaduct/mirror"
	"viaduct/wire"
)

func head(t *testing.T, text string) *wire.Head {
	t.Helper()
	client, server := net.Pipe()
	go func() { _, _ = io.WriteString(client, text) }()
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	h, c := new(wire.Head), wire.New(server, 1<<16)
	if err := c.ReadRequest(h, time.Minute); err != nil {
		t.Fatal(err)
	}
	return h
}

// hidden are fields that a handler is not shown.
func hidden(_ *wire.Head, f *wire.Field) bool {
	return wire.Fold(f.Name, "host") || wire.Fold(f.Name, "secret")
}

func lines(h *wire.Head) (all []string) {
	for _, f := range h.Fields {
		all = append(all, string(f.Name)+"="+string(f.Value))
	}
	return all
}

func TestWhatIsChangedInTheMirrorIsChangedInTheHead(t *testing.T) {
	h := head(t, "GET / HTTP/1.1\r\nhOsT: x\r\nb: 1\r\nA: 2\r\nB: 3\r\nsecret: s\r\nc: 4\r\n\r\n")
	shown := mirror.Header(h, hidden)
	if got := shown["B"]; !slices.Equal(got, []string{"1", "3"}) || len(shown) != 3 {
		t.Errorf("%v", shown)
	}
	shown["B"] = []string{"1", "changed"}
	shown.Del("A")
	shown.Set("Zz", "new")
	shown.Set("Secret", "forged")
	mirror.Merge(h, shown, hidden)
	want := []string{"hOsT=x", "b=1", "B=changed", "secret=s", "c=4", "Secret=forged", "Zz=new"}
	if got := lines(h); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestURLsAreForLookingAt(t *testing.T) {
	for _, c := range []struct {
		secure       bool
		host         string
		port         uint16
		path         string
		want, parsed string
	}{
		{false, "a.example", 80, "/x%2Fy?q=1", "http://a.example/x%2Fy?q=1", "/x/y"},
		{true, "a.example", 443, "/", "https://a.example/", "/"},
		{true, "a.example", 8443, "/%zz", "https://a.example:8443/%25zz", "/%zz"},
	} {
		u := mirror.URL(c.secure, &hop.Target{Host: c.host, Port: c.port}, []byte(c.path))
		if u.String() != c.want || u.Path != c.parsed {
			t.Errorf("%s with path %s", u, u.Path)
		}
	}
}

func TestATraceShowsNothingThatIsSecret(t *testing.T) {
	got := string(mirror.Traced(head(t, "TRACE http://x/ HTTP/1.0\r\nHost: x\r\nCookie: c\r\nAuthorization: a\r\nProxy-Authorization: p\r\nA: b\r\n\r\n")))
	if !strings.HasPrefix(got, "TRACE http://x/ HTTP/1.0\r\n") || !strings.HasSuffix(got, "A: b\r\n\r\n") || strings.Contains(got, "ookie") || strings.Contains(got, "uthorization") {
		t.Errorf("%q", got)
	}
}
