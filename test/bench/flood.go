package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// flood is what comes beside a load: wrong passwords at a steady rate, whether
// they are answered or not.
type flood struct {
	rate    int                // a second; 0 is no flood
	from    int                // addresses that it comes from
	attempt func(n int) []byte // the n-th request
}

// tally says how many answers of each status there were; 0 stands for none.
type tally map[int64]float64

// each is the same for each of some seconds.
func (t tally) each(seconds float64) tally {
	rates := tally{}
	for status, n := range t {
		rates[status] = n / seconds
	}
	return rates
}

func (t tally) sum() (n float64) {
	for _, v := range t {
		n += v
	}
	return n
}

// brief lists the statuses, the most frequent first; nothing if there is none.
func (t tally) brief() string {
	if len(t) == 0 {
		return ""
	}
	var parts []string
	for _, status := range slices.SortedFunc(maps.Keys(t), func(a, b int64) int { return cmp.Compare(t[b], t[a]) }) {
		parts = append(parts, fmt.Sprintf("%s by %d", number(t[status]), status))
	}
	return "flood answered/s: " + strings.Join(parts, " ")
}

// mostAttackers is how many connections wait for answers at a time. When all do,
// what was to be sent is not sent later.
const mostAttackers = 512

// wrongPassword is a request with the n-th wrong password, in turn of the user
// there is and of one there is not.
func (t target) wrongPassword(n int) []byte {
	user := userName
	if n%2 == 1 {
		user = "nobody" + strconv.Itoa(n)
	}
	t.field = proxyAuthorization(user, "wrong"+strconv.Itoa(n))
	return t.get(bytesPath(small))
}

// attack is a flood on its way.
type attack struct {
	flood
	g         *gen
	began     int64
	sent      int
	free      []*attacker
	attackers map[*attacker]bool
}

func newAttack(g *gen) *attack {
	return &attack{flood: g.flood, g: g, began: now(), attackers: map[*attacker]bool{}}
}

// turn sends what is due by now.
func (a *attack) turn() {
	due := int(float64(now()-a.began)/1e9*float64(a.rate)) - a.sent
	for range due {
		if c := a.next(); c != nil {
			c.out, c.waits = a.attempt(a.sent), true
			c.flush()
		}
		a.sent++
	}
}

// next is a connection that waits for nothing, all in turn; nil if there is none.
func (a *attack) next() *attacker {
	for len(a.free) > 0 && len(a.attackers) >= a.from { // else there are addresses without one
		c := a.free[0]
		if a.free = a.free[1:]; a.attackers[c] {
			return c
		}
	}
	if len(a.attackers) == mostAttackers {
		return nil
	}
	fd, err := connect(a.sent%a.from, a.g.port)
	if err == nil {
		c := &attacker{attack: a, fd: fd}
		if err = a.g.add(fd, evIn, c); err == nil {
			a.attackers[c] = true
			return c
		}
		_ = syscall.Close(fd)
	}
	a.g.fail(err)
	return nil
}

func (a *attack) close() {
	for c := range a.attackers {
		c.close()
	}
}

// answered counts an answer; 0 is the end of a connection without one.
func (a *attack) answered(status int64) {
	if a.g.measuring && !a.g.over {
		a.g.refused[status]++
	}
	if status >= 200 && status < 300 {
		a.g.fail(fmt.Errorf("a wrong password was answered by %d", status))
	}
}

// attacker is one connection of an attack.
type attacker struct {
	*attack
	fd     int
	out    []byte
	head   []byte // incomplete
	waits  bool   // for an answer
	status int64  // of an answer whose body is to come
	left   int64  // of that
	closes bool
}

func (c *attacker) ready(ev uint32) {
	if ev&evOut != 0 {
		c.flush()
	}
	if ev&^evOut != 0 && c.attackers[c] {
		c.receive()
	}
}

// flush sends what there is to send, when the connection is open.
func (c *attacker) flush() {
	n, err := syscall.Write(c.fd, c.out)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		c.g.mod(c.fd, evIn|evOut)
		return
	case err != nil:
		c.ended()
		return
	}
	c.out = c.out[n:]
	c.g.mod(c.fd, evIn)
}

func (c *attacker) receive() {
	n, err := syscall.Read(c.fd, c.g.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return
	case n <= 0:
		c.ended()
		return
	}
	b := c.g.buf[:n]
	if c.status == 0 {
		c.head = append(c.head, b...)
		h, whole := parseHead(c.head)
		if !whole {
			return
		}
		b = c.head[h.size:]
		c.head, c.status, c.left, c.closes = nil, h.status(), h.length, h.closes || h.chunked || h.length < 0
	}
	if c.left -= int64(len(b)); c.left <= 0 {
		c.done()
	}
}

// done counts an answer, and leaves the connection to the next attempt.
func (c *attacker) done() {
	c.answered(c.status)
	if c.closes || c.left < 0 {
		c.close()
		return
	}
	c.status, c.waits = 0, false
	c.free = append(c.free, c)
}

// ended is the end of the connection, in an answer or before.
func (c *attacker) ended() {
	if c.waits {
		c.answered(c.status)
	}
	c.close()
}

func (c *attacker) close() {
	c.g.loop.close(c.fd)
	delete(c.attackers, c)
}
