package probe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log" //nolint:depguard // net/http writes there by itself
	"net"
	"strings"
	"testing"

	"viaduct/probe"
)

// Types and flags of frames of HTTP/2 (RFC 9113 section 6).
const (
	data, headers, priority, rst, settings, ping, window = 0, 1, 2, 3, 4, 6, 8
	endStream, endHeaders, padded                        = 1, 4, 8
)

// frame is one of HTTP/2, as it is written.
func frame(kind, flags, stream byte, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}) + payload
}

// wellFrames are the beginning of an answer, in which something stands before its
// first word.
func wellFrames(before string) string {
	const head = "\x88\x5f\x10application/grpc" // RFC 7541: status 200, and a content type
	return frame(settings, 0, 0, "") + frame(headers, endHeaders, 1, head) + before + frame(data, 0, 1, "\x00\x00\x00\x00\x02\x08\x01")
}

// answered waits for the whole request, answers byte by byte, and then repeats
// part until the connection ends.
func answered(first, part string) func(net.Conn) {
	return func(nc net.Conn) {
		if _, err := io.ReadFull(nc, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
			return
		}
		for head := [9]byte{3: settings}; head[3] != data; {
			if _, err := io.ReadFull(nc, head[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, nc, int64(head[1])<<8|int64(head[2])); err != nil {
				return
			}
		}
		for i := range len(first) {
			nc.Write([]byte{first[i]})
		}
		for b := []byte(strings.Repeat(part, 100)); len(b) > 0; {
			if _, err := nc.Write(b); err != nil {
				return
			}
		}
		hang(nc)
	}
}

// logged is what the standard logger is told until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	b, before := new(bytes.Buffer), log.Writer() //nolint:forbidigo // as above
	log.SetOutput(b)                             //nolint:forbidigo // as above
	t.Cleanup(func() { log.SetOutput(before) })  //nolint:forbidigo // as above
	return b
}

// TestFramesWithoutMessagesEnd: whatever a peer repeats, and nothing of it is
// logged.
func TestFramesWithoutMessagesEnd(t *testing.T) {
	for _, tt := range []struct {
		name, part string
	}{
		{"unknown", frame(0x42, 0, 0, "x")},
		{"unknown and large", frame(0xff, 0, 1, strings.Repeat("x", 16<<10))},
		{"priority", frame(priority, 0, 1, "\x00\x00\x00\x00\x00")},
		{"ping", frame(ping, 0, 0, "12345678")},
		{"settings", frame(settings, 0, 0, "")},
		{"empty data", frame(data, 0, 1, "")},
		{"padded data", frame(data, padded, 1, "\xff"+strings.Repeat("\x00", 255))},
		{"reset of another stream", frame(rst, 0, 3, "\x00\x00\x00\x08")},
		{"window", frame(window, 0, 0, "\x00\x00\x00\x01")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := logged(t)
			addr := peer(t, answered(wellFrames(""), tt.part))
			told := 0
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := probe.Check{Kind: probe.GRPC}.WatchRun(ctx, probe.Endpoint{Addr: addr}, func(r probe.Result) { told++; passes(t, r) })
			if err == nil || errors.Is(err, context.DeadlineExceeded) || told != 1 {
				t.Errorf("told %d, error %v", told, err)
			}
			r := run(t, probe.Check{Kind: probe.GRPC}, addr)
			fails(t, r, "")
			if errors.Is(r.Err, context.DeadlineExceeded) {
				t.Errorf("checked: %v", r.Err)
			}
			if said.Len() > 0 {
				t.Errorf("logged: %.300s", said)
			}
		})
	}
}

// TestUnknownFramesAreIgnored: few of them are no offence.
func TestUnknownFramesAreIgnored(t *testing.T) {
	said := logged(t)
	odd := frame(0x42, 0xff, 7, "hello") + frame(priority, 0, 1, "\x00\x00\x00\x00\x00")
	end := frame(headers, endHeaders|endStream, 1, "\x40\x0bgrpc-status\x010")
	passes(t, run(t, probe.Check{Kind: probe.GRPC}, peer(t, answered(wellFrames(odd)+strings.Repeat(odd, 100)+end, ""))))
	fails(t, run(t, probe.Check{Kind: probe.GRPC}, peer(t, answered(frame(ping, 0, 0, "12345678"), ""))), "does not speak HTTP/2")
	if said.Len() > 0 {
		t.Errorf("logged: %s", said)
	}
}
