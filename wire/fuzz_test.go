package wire_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"viaduct/wire"
)

// The property of every target: what wire accepts, net/http accepts too, with
// the same meaning, to the last byte. wire may refuse what net/http takes. And
// what wire makes of bytes does not depend on how they were cut.

// most messages are read of one input, and inputs are no longer than long: the
// bounds of heads and bodies have tests of their own.
const (
	most = 5
	long = 8 << 10
)

// readings reads up to most messages of an input, the way the input is cut.
func readings(nc *script, one func(c *wire.Conn, h *wire.Head) message) (list []message) {
	c := wire.New(nc, maxHead)
	defer c.Drop()
	for range most {
		var h wire.Head
		m := one(c, &h)
		m.rest = c.Buffered() + nc.unread()
		m.close, m.framing = h.Close, framingOf(&h)
		if list = append(list, m); m.err != nil || h.Close {
			break
		}
	}
	return list
}

func framingOf(h *wire.Head) string {
	switch {
	case h.Chunked:
		return "chunked"
	case h.Length > 0:
		return fmt.Sprintf("length %d", h.Length)
	case h.Status != 0 && h.Length < 0:
		return "close"
	}
	return "none"
}

// cutsAgree wants the messages of an input to be the same in pieces.
func cutsAgree(t *testing.T, in []byte, seed uint64, want []message, one func(c *wire.Conn, h *wire.Head) message) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	for _, nc := range []*script{bytewise(string(in)), cut(r, string(in), 5), cut(r, string(in), 50)} {
		got := readings(nc, one)
		if len(got) != len(want) {
			t.Fatalf("%q\nin pieces %d messages, at once %d", in, len(got), len(want))
		}
		for i := range got {
			if !got[i].same(&want[i]) || got[i].err == nil && got[i].rest != want[i].rest {
				t.Fatalf("%q\nmessage %d\nin pieces %s\nat once %s", in, i, &got[i], &want[i])
			}
		}
	}
}

// agree wants net/http to have read the same message.
func agree(t *testing.T, in []byte, m *message, start string, ref *reading) {
	t.Helper()
	unfinished := m.err == io.EOF || m.err == io.ErrUnexpectedEOF
	switch {
	case ref.err == errExcused, m.err != nil && !unfinished:
		return
	case unfinished && ref.err == nil:
		t.Fatalf("%q\nwire waits for more, net/http has a whole message: body %q, %d bytes behind it", in, ref.body, ref.rest)
	case unfinished:
		return
	case ref.err != nil:
		t.Fatalf("%q\nwire accepts %s\nnet/http does not: %v", in, m, ref.err)
	}
	type view struct {
		start, fields, framing, body string
		rest                         int
	}
	got := view{start, grouped(m.fields), m.framing, m.body, m.rest}
	want := view{ref.start, flat(ref.fields), ref.framing, ref.body, ref.rest}
	if got != want {
		t.Fatalf("%q\nwire     %+v\nnet/http %+v", in, got, want)
	}
}

// flat writes fields down by name, their values in order.
func flat(fields map[string][]string) string {
	var list []string
	for name, values := range fields {
		list = append(list, fmt.Sprintf("%s: %q", name, values))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// grouped does so for "name: value".
func grouped(list []string) string {
	fields := map[string][]string{}
	for _, f := range list {
		name, value, _ := strings.Cut(f, ": ")
		fields[name] = append(fields[name], value)
	}
	return flat(fields)
}

func FuzzRequest(f *testing.F) {
	for _, in := range requestSeeds() {
		f.Add([]byte(in), uint64(1))
		f.Add([]byte(strings.TrimSuffix(in, "0\r\n\r\n")+question+in), uint64(2))
	}
	f.Add([]byte(browser+sized("3", "abc")+chunkedHead+"1\r\na\r\n0\r\nX: y\r\n\r\n"+"\r\n"+question), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		in = in[:min(len(in), long)]
		list := readings(whole(string(in)), readRequest)
		cutsAgree(t, in, seed, list, readRequest)
		for i := range list {
			m := &list[i]
			ref := readNetRequest(in)
			agree(t, in, m, m.start, &ref)
			if m.err != nil || ref.err != nil {
				return
			}
			// wire closes after HTTP/1.0 always: RFC 9112 appendix C.2.2.
			if m.close != ref.close && !strings.HasSuffix(m.start, " 1.0") {
				t.Fatalf("%q\nwire closes: %v, net/http: %v", in, m.close, ref.close)
			}
			in = in[len(in)-m.rest:]
		}
	})
}

func FuzzResponse(f *testing.F) {
	for _, in := range answerSeeds() {
		f.Add([]byte(in), false, uint64(1))
		f.Add([]byte(in), true, uint64(2))
		f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"+in+answer), false, uint64(3))
	}
	f.Add([]byte(served+served), false, uint64(4))
	f.Fuzz(func(t *testing.T, in []byte, toHead bool, seed uint64) {
		in = in[:min(len(in), long)]
		one := func(c *wire.Conn, h *wire.Head) message { return readResponse(c, h, toHead) }
		list := readings(whole(string(in)), one)
		cutsAgree(t, in, seed, list, one)
		method := "GET"
		if toHead {
			method = "HEAD"
		}
		for i := range list {
			m := &list[i]
			ref := readNetResponse(in, method)
			agree(t, in, m, strings.TrimRight(m.start, " "), &ref)
			if m.err != nil || ref.err != nil {
				return
			}
			if m.close != ref.close && !strings.HasPrefix(m.head, "1.0") {
				t.Fatalf("%q\nwire closes: %v, net/http: %v", in, m.close, ref.close)
			}
			in = in[len(in)-m.rest:]
		}
	})
}

func FuzzChunked(f *testing.F) {
	for _, in := range chunkings() {
		f.Add([]byte(in), uint64(1))
	}
	r := rand.New(rand.NewPCG(1, 1))
	f.Add([]byte(chunk(r, strings.Repeat("0123456789", 100))+trailers(r)), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		in = in[:min(len(in), long)]
		first := func(nc *script) (message, int) {
			c := wire.New(nc, maxHead)
			defer c.Drop()
			var h wire.Head
			m := readRequest(c, &h)
			return m, c.Buffered() + nc.unread()
		}
		full := chunkedHead + string(in)
		m, rest := first(whole(full))
		r := rand.New(rand.NewPCG(seed, 0))
		for _, nc := range []*script{bytewise(full), cut(r, full, 5), cut(r, full, 50)} {
			if got, left := first(nc); !got.same(&m) || m.err == nil && left != rest {
				t.Fatalf("%q\nin pieces %s, %d left\nat once %s, %d left", in, &got, left, &m, rest)
			}
		}
		ref := readNetChunks(in)
		m.fields, m.rest, m.framing = m.trailer, rest, ""
		ref.fields = passing(ref.fields)
		agree(t, in, &m, "", &ref)
	})
}

// passing are the fields that wire leaves in a trailer section.
func passing(fields map[string][]string) map[string][]string {
	kept := maps.Clone(fields)
	for _, v := range fields["connection"] {
		for o := range strings.SplitSeq(v, ",") {
			delete(kept, strings.ToLower(strings.Trim(o, " \t")))
		}
	}
	for _, name := range []string{
		"content-length", "transfer-encoding", "connection", "host", "expect",
		"upgrade", "trailer", "te", "max-forwards", "via",
	} {
		delete(kept, name)
	}
	return kept
}
