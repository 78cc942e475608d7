package exchange_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/exchange"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/verdict"
)

// ice is what a parent's process can be frozen in. Its kernel takes connections all the
// same.
type ice struct {
	mu   sync.Mutex // guards thaw
	thaw chan struct{}
}

func (i *ice) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.thaw = make(chan struct{})
}

func (i *ice) melt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.thaw != nil {
		close(i.thaw)
		i.thaw = nil
	}
}

func (i *ice) wait() {
	i.mu.Lock()
	thaw := i.thaw
	i.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
}

// serve is proxy, in the ice. Its tunnels lead to an origin that is polite.
func (i *ice) serve(p *peer) {
	for head := p.request(); head != ""; head = p.request() {
		i.wait()
		answer := ok
		if strings.HasPrefix(head, "CONNECT ") {
			answer = "HTTP/1.1 200 Made\r\n\r\n"
		}
		_, _ = io.WriteString(p.TCPConn, answer) // which may be closed by now
	}
}

// watched is by, of a pool that runs.
func watched(t *testing.T, change func(*exchange.Way), endpoints ...string) (*rig, *pool.Pool) {
	t.Helper()
	o := pool.Options{Name: "parents", LB: lb.Options{Policy: lb.First}, Retries: 2}
	o.Health = health.Options{Ejection: verdict.Ejection{Base: 100 * time.Millisecond}}
	for _, text := range endpoints {
		o.Endpoints = append(o.Endpoints, must[parent.Endpoint](t)(parent.ParseEndpoint(text)))
	}
	p := must[*pool.Pool](t)(pool.New(o))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		p.Close()
	})
	return begin(t, func(r *rig) {
		r.ways = func(w *exchange.Way) {
			w.Pool, w.Via = p, tag
			if change != nil {
				change(w)
			}
		}
	}), p
}

func endpointOf(p *pool.Pool, addr string) (v pool.EndpointView) {
	for _, e := range p.View().Endpoints {
		if e.ID == "http://"+addr {
			v = e
		}
	}
	return v
}

// What waits for a parent that hangs goes elsewhere if it may be repeated (RFC 9110
// section 9.2.2), and is told if not.
func TestAParentThatHangsIsLeftByThoseWhoWait(t *testing.T) {
	for name, change := range map[string]func(*exchange.Way){"in absolute-form": byName, "through tunnels": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cold, warm ice
			frozen, good := play(t, cold.serve), play(t, warm.serve)
			t.Cleanup(cold.melt)
			r, p := watched(t, change, "http://"+frozen.addr, "http://"+good.addr)
			r.o.DialTimeout = time.Second
			say := func(method, host string) *end {
				c := r.dial()
				c.say("%s http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", method, host)
				return c
			}
			say("PUT", "example.test").want("PUT", 200)
			cold.freeze()
			var all []*end
			methods := []string{"GET", "PUT", "POST", "DELETE"}
			for _, m := range methods {
				all = append(all, say(m, "example.test"))
			}
			for i, m := range methods {
				if m == "POST" && frozen.count(m) == 1 { // and not the CONNECT before it
					all[i].wantFault(m, 504, "connection_read_timeout")
				} else {
					all[i].want(m, 200)
				}
			}
			if n := frozen.count("POST") + good.count("POST"); n != 1 {
				t.Errorf("a POST was sent %d times", n)
			}
			if e := endpointOf(p, frozen.addr); e.Ejections == 0 && e.Failures == 0 {
				t.Errorf("it is not blamed: %+v", e)
			}
			cold.melt()
			poll(t, "it is used again", func() bool {
				before := endpointOf(p, frozen.addr).Picks
				say("PUT", "thawed.test").want("PUT", 200)
				e := endpointOf(p, frozen.addr)
				return e.Picks > before && e.Passive == "ok"
			})
			idle(t, p)
		})
	}
}

// A request whose body is still on its way is told, too.
func TestAnUploadToAParentThatHangsEnds(t *testing.T) {
	frozen := play(t, func(p *peer) { p.request(); _, _ = io.Copy(io.Discard, p.r) })
	r, p := watched(t, byName, "http://"+frozen.addr, "http://"+nobody(t))
	r.o.DialTimeout = 200 * time.Millisecond
	c := r.dial()
	c.say("PUT http://example.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nhi")
	c.wantFault("PUT", 504, "connection_read_timeout")
	idle(t, p)
}

// An origin that takes its time is waited for, as long as the parent speaks, and asked
// once.
func TestASlowOriginBehindAParentThatSpeaksIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*exchange.Way){"in absolute-form": byName, "through tunnels": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := make(chan struct{})
			p := play(t, func(p *peer) {
				for head := p.request(); head != ""; head = p.request() {
					switch {
					case strings.HasPrefix(head, "OPTIONS * "):
						p.say("HTTP/1.1 400 What\r\nContent-Length: 0\r\n\r\n")
					case strings.HasPrefix(head, "CONNECT "):
						p.say("HTTP/1.1 200 Made\r\n\r\n")
					default:
						<-answer
						p.say(ok)
					}
				}
			})
			other := play(t, proxy)
			r, pool := watched(t, change, "http://"+p.addr, "http://"+other.addr)
			r.o.DialTimeout = 2 * time.Second
			c := r.dial()
			c.say("GET http://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
			poll(t, "the parent is asked whether it speaks", func() bool { return p.count("OPTIONS") == 1 })
			close(answer)
			c.want("GET", 200)
			idle(t, pool)
			if n := p.count("GET"); n != 1 || len(other.seen()) > 0 {
				t.Errorf("asked %d times, and %q", n, other.seen())
			}
			if e := endpointOf(pool, p.addr); e.Failures != 0 || e.Errors != 0 || e.Ejections != 0 {
				t.Errorf("the parent is blamed: %+v", e)
			}
		})
	}
}
