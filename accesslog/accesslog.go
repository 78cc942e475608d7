// Package accesslog writes one line an exchange: a JSON object, appended to a
// buffer without allocating, and written out behind the requests' back.
package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Entry is what the log tells of one exchange or tunnel. Its slices are read
// before Add returns. Query strings and credentials have no place in it.
type Entry struct {
	Time     time.Time // when the request had come
	Mode     string    // forward
	Client   netip.AddrPort
	Method   []byte
	Target   []byte         // as asked for; the query is cut off here
	Endpoint netip.AddrPort // the address that was dialled, if any
	Tries    int            // connections that the request was sent on
	Status   int            // sent to the client; 0 when none was
	Fault    string         // RFC 9209 token, or ""
	Rule     string         // that decided, or ""
	Received int64          // body or tunnel bytes from the client
	Sent     int64          // body or tunnel bytes to the client
	Wait     time.Duration  // until the head of the answer, or the tunnel, was there
	Total    time.Duration  // until the end
}

// flushSize is how many bytes are held back at the most, and flushEvery how
// long.
const (
	flushSize  = 32 << 10
	flushEvery = 250 * time.Millisecond
	mostHeld   = 4 << 20 // bytes
	mostTarget = 2 << 10 // bytes of a target
)

// Writer is a log. A nil Writer logs nothing. Add may be called by many
// goroutines while Run runs.
type Writer struct {
	out io.Writer

	mu      sync.Mutex // guards buf and dropped
	buf     []byte
	dropped int           // lines, since the last that was kept
	full    chan struct{} // asks Run to write out now
}

// New makes a log that writes whole lines to out.
func New(out io.Writer) *Writer {
	return &Writer{out: out, full: make(chan struct{}, 1)}
}

// Add appends the line of an exchange. It never waits for whoever takes the
// lines: when far more is held back than Run can write, lines are dropped.
func (w *Writer) Add(e *Entry) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf) > mostHeld {
		w.dropped++
		return
	}
	w.buf = e.append(w.buf)
	if len(w.buf) < flushSize {
		return
	}
	select {
	case w.full <- struct{}{}:
	default:
	}
}

// Run writes lines out until ctx ends, and then what is left. failed is called
// when writing begins to fail, and with nil when it works again.
func (w *Writer) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var spare []byte
	broken := false
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true
		case <-tick.C:
		case <-w.full:
		}
		w.mu.Lock()
		lines, lost := w.buf, w.dropped
		w.buf, w.dropped = spare[:0], 0
		w.mu.Unlock()
		spare = lines
		if len(lines) == 0 {
			continue
		}
		_, err := w.out.Write(lines)
		if err == nil && lost > 0 {
			failed(fmt.Errorf("%d lines dropped: they came faster than they could be written", lost))
			broken = true
			continue
		}
		if (err != nil) != broken {
			broken = err != nil
			failed(err)
		}
	}
}

func (e *Entry) append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","mode":"`...)
	b = append(b, e.Mode...)
	b = append(b, `","client":"`...)
	b = e.Client.AppendTo(b)
	b = append(b, `","method":"`...)
	b = appendEscaped(b, e.Method)
	b = append(b, `","target":"`...)
	b = appendTarget(b, e.Target)
	if e.Endpoint.IsValid() {
		b = append(b, `","endpoint":"`...)
		b = e.Endpoint.AppendTo(b)
	}
	b = append(b, `","tries":`...)
	b = strconv.AppendInt(b, int64(e.Tries), 10)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = appendText(b, `,"fault":"`, e.Fault)
	b = appendText(b, `,"rule":"`, e.Rule)
	b = append(b, `,"bytes_received":`...)
	b = strconv.AppendInt(b, e.Received, 10)
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, e.Sent, 10)
	b = appendSeconds(b, `,"wait_s":`, e.Wait)
	b = appendSeconds(b, `,"total_s":`, e.Total)
	return append(b, '}', '\n')
}

// appendTarget leaves out what is nobody's business: the query, and a user name
// and password, which no valid target has but a client may have written.
func appendTarget(b, target []byte) []byte {
	if i := bytes.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	target = target[:min(len(target), mostTarget)]
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if ok {
		b = append(appendEscaped(b, scheme), "://"...)
	} else {
		rest = target
	}
	end := bytes.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	return appendEscaped(b, rest[bytes.LastIndexByte(rest[:end], '@')+1:])
}

func appendText(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, key...)
	return append(appendEscaped(b, value), '"')
}

// appendSeconds writes seconds with six digits behind the point.
func appendSeconds(b []byte, key string, d time.Duration) []byte {
	b = append(b, key...)
	micros := max(d, 0).Microseconds()
	b = strconv.AppendInt(b, micros/1e6, 10)
	b = append(b, '.')
	for unit := int64(1e5); unit > 0; unit /= 10 {
		b = append(b, byte('0'+micros/unit%10))
	}
	return b
}

// appendEscaped writes what a client sent, or an operator named, so that no
// byte of it can end the string or the line. Bytes that are not ASCII are
// written as Latin-1.
func appendEscaped[T ~string | ~[]byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			b = append(b, c)
			continue
		}
		b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
	}
	return b
}
