package test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is what the origins of noMixups have read, by the id of the request.
type ledger struct {
	mu   sync.Mutex
	read map[string]int
}

func (l *ledger) enter(id string) {
	l.mu.Lock()
	l.read[id]++
	l.mu.Unlock()
}

// noMixups lets 24 clients ask 250 times each, some leaving halfway, while the
// origins close, reset, break off and say too much. An answer that looks
// whole must be the answer to its request, and a POST is read at most once.
func noMixups(t *testing.T, _ *proxy) {
	p := start(t, quick...)
	base := warm(t, p)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &ledger{read: map[string]int{}}
	var origins []*origin
	for range 3 {
		origins = append(origins, newOrigin(t, l.unruly(seed)))
	}
	whole := make(chan int, 24) // room for all: nobody waits
	if err := eachOf(24, 24, func(n int) error {
		w := &wanderer{proxy: p.addr, n: n, dice: rand.New(rand.NewPCG(seed, uint64(n))), origins: origins}
		defer func() { whole <- w.whole }()
		return w.roam(250)
	}); err != nil {
		t.Error(err)
	}
	sum := 0
	for range 24 {
		sum += receive(t, "a count", whole)
	}
	t.Logf("%d whole answers of %d", sum, 24*250)
	if sum < 24*250/4 {
		t.Errorf("only %d answers of %d were whole", sum, 24*250)
	}
	l.mu.Lock()
	for id, times := range l.read {
		if times > 1 && strings.HasPrefix(id, "POST") {
			t.Errorf("%s was read %d times", id, times)
		}
	}
	l.mu.Unlock()
	poll(t, "the origins have no connection any more", func() bool { return origins[0].open()+origins[1].open()+origins[2].open() == 0 })
	p.settles(t, base)
}

// unruly is an origin that answers each request with its id, and every now
// and then does harm to the connection.
func (l *ledger) unruly(seed uint64) func(*originConn) {
	return func(o *originConn) {
		dice := rand.New(rand.NewPCG(seed, 1000+uint64(o.n)))
		for {
			r, err := readRequest(o.in)
			if err != nil {
				return
			}
			id := r.method() + " " + r.target() + " " + r.body
			l.enter(r.method() + " " + r.target())
			answer := ok(id)
			if dice.IntN(2) == 0 {
				answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(id, max(7, len(id)*2/3)) + "0\r\n\r\n"
			}
			if r.method() == "HEAD" {
				answer = "HTTP/1.1 200 OK\r\nX-Id: " + r.target() + "\r\nContent-Length: 10\r\n\r\n"
			}
			if o.harm(dice, answer) {
				return
			}
		}
	}
}

// harm sends the answer, or does what it should not; it tells whether the
// connection is over.
func (c *originConn) harm(dice *rand.Rand, answer string) (over bool) {
	switch dice.IntN(20) {
	case 0: // closes without an answer
		return true
	case 1:
		reset(c)
		return true
	case 2: // breaks off
		c.send(answer[:dice.IntN(len(answer))])
		return true
	case 3: // says too much; what comes later than this, no proxy can tell from the next answer
		c.send(answer + ok("poison"))
		return false
	case 4: // closes behind the answer
		c.send(answer)
		return true
	case 5: // in two packets
		half := dice.IntN(len(answer))
		c.send(answer[:half])
		pause(time.Millisecond)
		return c.send(answer[half:]) != nil
	default:
		return c.send(answer) != nil
	}
}

// wanderer is one client of noMixups.
type wanderer struct {
	proxy   string
	n       int
	dice    *rand.Rand
	origins []*origin
	whole   int

	conn net.Conn
	in   *bufio.Reader
}

func (w *wanderer) roam(times int) error {
	defer w.leave()
	for i := range times {
		if err := w.once(i); err != nil {
			return fmt.Errorf("client %d, request %d: %w", w.n, i, err)
		}
	}
	return nil
}

func (w *wanderer) leave() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

func (w *wanderer) once(i int) error {
	if w.conn == nil {
		conn, err := net.DialTimeout("tcp", w.proxy, patience)
		if err != nil {
			return err
		}
		w.conn, w.in = conn, bufio.NewReader(conn)
	}
	w.conn.SetDeadline(time.Now().Add(patience))
	method := [...]string{"GET", "POST", "POST", "HEAD", "PUT"}[w.dice.IntN(5)]
	id := fmt.Sprintf("/%d/%d", w.n, i)
	request, body := w.request(method, id)
	if w.dice.IntN(15) == 0 {
		return w.breakOff(request)
	}
	m, late := w.exchange(method, request)
	switch {
	case late:
		return fmt.Errorf("%s %s: no answer", method, id)
	case m == nil:
		w.leave()
		return nil
	}
	return w.check(m, method, id, body)
}

// exchange returns the answer if it is whole; late says that none came in time.
func (w *wanderer) exchange(method, request string) (m *message, late bool) {
	if _, err := w.conn.Write([]byte(request)); err != nil {
		return nil, timed(err) // an announced close came first
	}
	m, err := readAnswer(w.in, method)
	if err == nil {
		err = m.err
	}
	if err != nil {
		return nil, timed(err) // broken off, and seen to be
	}
	return m, false
}

func (w *wanderer) request(method, id string) (request, body string) {
	target := w.origins[w.dice.IntN(len(w.origins))].addr
	request = fmt.Sprintf("%s http://%s%s HTTP/1.1\r\nHost: %s\r\n", method, target, id, target)
	if method == "GET" || method == "HEAD" {
		return request + "\r\n", ""
	}
	body = strings.Repeat(id, 1+w.dice.IntN(50))
	if w.dice.IntN(12) == 0 { // large enough for the ways of large bodies
		body = strings.Repeat(body, 300_000/len(body))
	}
	if w.dice.IntN(2) == 0 {
		return request + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, max(30, len(body)*2/3)) + "0\r\n\r\n", body
	}
	return request + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body), body
}

// breakOff leaves in the middle of a request, or behind it without waiting.
func (w *wanderer) breakOff(request string) error {
	w.conn.Write([]byte(request[:w.dice.IntN(len(request)+1)]))
	if w.dice.IntN(2) == 0 {
		reset(w.conn)
	}
	w.leave()
	return nil
}

func (w *wanderer) check(m *message, method, id, body string) error {
	switch {
	case m.status() == 502 && strings.HasPrefix(m.get("Proxy-Status"), "viaduct;"):
	case m.status() != 200:
		return fmt.Errorf("%s %s: got %q", method, id, m.raw)
	case method == "HEAD" && m.get("X-Id") != id:
		return fmt.Errorf("HEAD %s got the answer to %q: %q", id, m.get("X-Id"), m.raw)
	case method != "HEAD" && m.body != method+" "+id+" "+body:
		return fmt.Errorf("%s %s got the answer %q", method, id, clip(m.body))
	default:
		w.whole++
	}
	if strings.EqualFold(m.get("Connection"), "close") {
		w.leave()
	}
	return nil
}
