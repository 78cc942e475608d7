package test

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// seeds are requests that mutations start from. The part up to the end of the
// authority stays, so that no mutation asks for a stranger.
var seeds = [][2]string{
	{"GET http://{O}", "/first?q HTTP/1.1\r\nHost: {O}\r\nAccept: */*\r\nConnection: keep-alive, x\r\nX: 1\r\n\r\n"},
	{"POST http://{O}", "/first HTTP/1.1\r\nHost: {O}\r\nContent-Length: 49\r\n\r\n" + smuggled},
	{"POST http://{O}", "/first HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n31;a=b\r\n" + smuggled + "\r\n0\r\nX-Sum: 1\r\n\r\n"},
	{"POST http://{O}", "/first HTTP/1.1\r\nHost: {O}\r\nExpect: 100-continue\r\nContent-Length: 5\r\nTE: trailers\r\n\r\nhello"},
	{"OPTIONS http://{O}", " HTTP/1.1\r\nHost: {O}\r\nMax-Forwards: 3\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"},
	{"PUT http://{O}", "/first HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"},
}

// spices are what mutations put in.
var spices = []string{
	"\r", "\n", "\r\n", "\x00", " ", "\t", ":", ",", ";", "\x0b", "\x7f", "\xff", "0", "-", "+", "\r\n\r\n", "\r\n ", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
	"Connection: content-length\r\n", "chunked", "HTTP/1.0", "HTTP/1.1", "0\r\n\r\n", "Host: x\r\n", " : ", "\"", "%00", "@", "#", "Expect: 100-continue\r\n", "Upgrade: x\r\nConnection: upgrade\r\n", smuggled,
}

// mutate changes s in one to three places.
func mutate(dice *rand.Rand, s string) string {
	for range 1 + dice.IntN(3) {
		at := dice.IntN(len(s) + 1)
		upTo := min(len(s), at+dice.IntN(6))
		switch dice.IntN(6) {
		case 0:
			s = s[:at] + s[upTo:]
		case 1:
			s = s[:at] + s[at:upTo] + s[at:]
		case 2:
			s = s[:at] + string([]byte{byte(dice.IntN(256))}) + s[upTo:]
		default:
			s = s[:at] + spices[dice.IntN(len(spices))] + s[at:]
		}
	}
	return s
}

// TestMutations sends mutated requests with a marked one behind them. Whatever
// the proxy makes of them, the origin receives plain requests only and never
// the one that lies in a body.
func TestMutations(t *testing.T) {
	many := 1500
	if long() {
		many = 50_000
	}
	p := start(t, "--header-timeout", "2s", "--body-timeout", "2s", "--response-timeout", "2s")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	var o *origin
	for n := range many {
		if n%100 == 0 {
			o = newOrigin(t, serve(func(r *message) string { return ok(r.target()) }))
		}
		s := seeds[dice.IntN(len(seeds))]
		sent := s[0] + mutate(dice, s[1]) + marker
		before := o.dials()
		c := dial(t, p)
		c.fill = o.places
		c.try(sent) // a refusal may come first
		c.conn.CloseWrite()
		got, err := c.rest()
		c.conn.Close()
		if timed(err) || got != "" && !strings.HasPrefix(got, "HTTP/1.") {
			t.Errorf("%q: got %q, %v", sent, clip(got), err)
		}
		if o.dials() > before {
			if (shape{}).oneMeaning(t, o); t.Failed() {
				t.Fatalf("it was sent %q", sent)
			}
		}
	}
	if p.over() {
		t.Fatal("the proxy has ended")
	}
}

// TestNoise sends bytes without any sense; the proxy goes on.
func TestNoise(t *testing.T) {
	p := start(t, "--header-timeout", "2s")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	for range 600 {
		noise := make([]byte, 1+dice.IntN(2000))
		for i := range noise {
			noise[i] = byte(dice.IntN(256))
			if dice.IntN(10) == 0 {
				noise[i] = "\r\n :/.HTP1"[dice.IntN(10)]
			}
		}
		c := dial(t, p)
		c.conn.Write(noise) // a refusal may come first
		c.conn.CloseWrite()
		if got, err := io.ReadAll(c.hurry().in); timed(err) || strings.HasPrefix(string(got), "HTTP/1.1 2") {
			t.Errorf("%q: got %q, %v", noise, clip(string(got)), err)
		}
		c.conn.Close()
	}
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
}
