// Rate asks a proxy for pages at a steady rate, whether or not earlier answers
// have come: one half as plain requests over kept connections, the other half
// through a tunnel each.
//
//	rate PROXY HOST PER-SECOND SECONDS
//
// It writes a line a request, in the order in which they end: when it was due in
// seconds of Unix time, plain or tunnel, how many seconds it took, and "ok" or
// what went wrong. A request that has taken five seconds is lost.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const patience = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// storm is what all requests have in common.
type storm struct {
	proxy, host string
	plain       *http.Client
	results     chan result
	asking      sync.WaitGroup
}

// result is what came of a request.
type result struct {
	due  time.Time
	kind string
	took time.Duration
	err  error
}

func run(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: rate PROXY HOST PER-SECOND SECONDS")
	}
	perSecond, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	seconds, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	s := &storm{proxy: args[0], host: args[1], results: make(chan result, 1024)}
	s.plain = &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyURL(&url.URL{Scheme: "http", Host: s.proxy}),
		MaxIdleConnsPerHost: 256,
	}}
	go s.blow(time.Second/time.Duration(perSecond), perSecond*seconds)
	return s.write()
}

// blow begins every request when it is due, and late ones at once.
func (s *storm) blow(gap time.Duration, count int) {
	next := time.NewTimer(0)
	defer next.Stop()
	begun := time.Now()
	for i := range count {
		due := begun.Add(time.Duration(i) * gap)
		if wait := time.Until(due); wait > 0 {
			next.Reset(wait)
			<-next.C
		}
		ask, kind := s.askPlain, "plain"
		if i%2 == 1 {
			ask, kind = s.askTunnel, "tunnel"
		}
		s.asking.Go(func() { s.one(due, kind, ask) })
	}
	s.asking.Wait()
	close(s.results)
}

// one makes one request.
func (s *storm) one(due time.Time, kind string, ask func(context.Context) error) {
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(patience))
	defer cancel()
	err := ask(ctx)
	s.results <- result{due: due, kind: kind, took: time.Since(due), err: err}
}

// write shows what came of the requests until all have ended.
func (s *storm) write() error {
	w := bufio.NewWriter(os.Stdout)
	for r := range s.results {
		said := "ok"
		if r.err != nil {
			said = strings.ReplaceAll(r.err.Error(), "\n", " ")
		}
		fmt.Fprintf(w, "%.3f %s %.3f %s\n", float64(r.due.UnixMilli())/1000, r.kind, r.took.Seconds(), said)
	}
	return w.Flush()
}

func (s *storm) askPlain(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+"/hello", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := s.plain.Do(r)
	if err != nil {
		return err
	}
	return greeted(answer)
}

func (s *storm) askTunnel(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.proxy)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	site := s.host + ":80"
	from := bufio.NewReader(c)
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", site, site); err != nil {
		return err
	}
	opened, err := http.ReadResponse(from, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if opened.StatusCode != http.StatusOK {
		return fmt.Errorf("connect: %s", opened.Status)
	}
	if _, err := fmt.Fprintf(c, "GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.host); err != nil {
		return err
	}
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		return fmt.Errorf("in the tunnel: %w", err)
	}
	return greeted(answer)
}

// greeted reads an answer, which has to be a greeting.
func greeted(answer *http.Response) error {
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "hello ") {
		return fmt.Errorf("%s %.80q", answer.Status, body)
	}
	return nil
}
