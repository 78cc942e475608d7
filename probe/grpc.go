package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	checkMethod = "/grpc.health.v1.Health/Check"
	watchMethod = "/grpc.health.v1.Health/Watch"

	mostMessage  = 4 << 10
	mostWindow   = 64 << 10 // what HTTP/2 lets a peer send ahead
	mostHead     = 16 << 10
	mostWords    = 100 // in a second of a watch
	usualTimeout = 5 * time.Second

	// Servers of gRPC end connections that ping more often than this.
	pingAfter = 6 * time.Minute
)

// ErrUnimplemented is of a server without grpc.health.v1, or without the
// method: one without Watch may have Check.
var ErrUnimplemented = errors.New("the server does not implement grpc.health.v1 here")

var (
	errUnknownService = errors.New("the server has no such service")
	errLost           = errors.New("the connection was lost")
	errFlood          = fmt.Errorf("more than %d messages in a second", mostWords)
)

// askGRPC is Check of grpc.health.v1.
func (c Check) askGRPC(ctx context.Context, e Endpoint, r *Result) error {
	s, err := c.call(ctx, e, checkMethod)
	if err != nil {
		return judge(err, r)
	}
	defer s.close()
	says, err := s.next()
	if err == nil {
		if _, err = s.next(); err == nil {
			err = errors.New("more than one message came")
		}
	}
	if !errors.Is(err, io.EOF) {
		return judge(overdue(ctx, err), r)
	}
	if err := statusError(s.answer.Trailer); err != nil {
		return judge(err, r)
	}
	if says == nil {
		return errors.New("it answered without a message")
	}
	err = says.read(r)
	r.Note = join(r.Note, c.expiry(s.tls))
	return err
}

// judge takes the word from an error that is one: Check says by its status
// what Watch says in a message.
func judge(err error, r *Result) error {
	if errors.Is(err, errUnknownService) {
		r.Word = SaysDown
	}
	return err
}

// WatchRun follows Watch of grpc.health.v1 and tells its first word and every
// other that differs from the one before, until ctx or the stream ends. The
// error says why it ended, and is never nil; ErrUnimplemented tells the caller
// to fall back to Run. A server that vanishes is noticed after half a minute by
// TCP, one that hangs after some minutes: run a check beside it where that is
// too long.
func (c Check) WatchRun(ctx context.Context, e Endpoint, tell func(Result)) error {
	if c.Kind != GRPC {
		return fmt.Errorf("watch %s: only grpc can be watched", c.Kind)
	}
	if err := c.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := fmt.Errorf("no word in time: %w", context.DeadlineExceeded)
	timer := time.AfterFunc(cmp.Or(c.Timeout, usualTimeout), func() { cancel(late) })
	defer timer.Stop()
	s, err := c.call(ctx, e, watchMethod)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.follow(func(says serving) {
		timer.Stop()
		r := Result{Weight: -1, Limit: -1}
		r.Err = says.read(&r)
		r.Note = join(r.Note, c.expiry(s.tls))
		tell(r)
	})
	if !errors.Is(err, io.EOF) {
		return overdue(ctx, err)
	}
	if err := statusError(s.answer.Trailer); err != nil {
		return err
	}
	return fmt.Errorf("the server ended the watch: %w", io.EOF)
}

// stream is an answer of gRPC, message by message.
type stream struct {
	*line
	answer    *http.Response
	transport *http.Transport
}

// call sends the request and reads the head of the answer.
func (c Check) call(ctx context.Context, e Endpoint, method string) (*stream, error) {
	l, err := c.open(ctx, e, "h2")
	if err != nil {
		return nil, err
	}
	f := &frames{conn: l.conn, in: bufio.NewReader(l.conn)}
	if method == watchMethod {
		f.every = time.Second
	}
	s := &stream{line: l, transport: over(f)}
	if err := s.begin(ctx, c.question(ctx, l.at, method)); err != nil {
		s.close()
		return nil, overdue(ctx, err)
	}
	return s, nil
}

func (s *stream) begin(ctx context.Context, q *http.Request) (err error) {
	if s.tls != nil && s.tls.NegotiatedProtocol != "h2" {
		return errors.New("it does not speak HTTP/2 over TLS: its handshake chose no h2")
	}
	if tc, ok := s.raw.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
	if s.answer, err = s.transport.RoundTrip(q.WithContext(ctx)); err != nil {
		return err
	}
	if s.answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: status 404", ErrUnimplemented)
	}
	if kind := s.answer.Header.Get("Content-Type"); s.answer.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "application/grpc") {
		return fmt.Errorf("no gRPC: status %d, type %.60q", s.answer.StatusCode, kind)
	}
	if s.answer.Header.Get("Grpc-Status") != "" { // trailers alone
		return cmp.Or(statusError(s.answer.Header), errors.New("it answered without a message"))
	}
	return nil
}

// close hangs up first: what the transport runs ends with its connection.
func (s *stream) close() {
	s.line.close()
	s.transport.CloseIdleConnections()
}

// over speaks HTTP/2 on one connection, and opens no other.
func over(nc net.Conn) *http.Transport {
	only := make(chan net.Conn, 1)
	only <- nc
	dial := func(context.Context, string, string) (net.Conn, error) {
		select {
		case nc := <-only:
			return nc, nil
		default:
			return nil, errLost
		}
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{ // no proxy: nothing comes from the environment
		DialContext: dial, DialTLSContext: dial, Protocols: &protocols,
		DisableCompression: true, MaxResponseHeaderBytes: mostHead,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: mostWindow, MaxReceiveBufferPerStream: mostWindow,
			SendPingTimeout: pingAfter, PingTimeout: usualTimeout,
		},
	}
}

// question is the request: a HealthCheckRequest, whose field 1 is the service.
func (c Check) question(ctx context.Context, at place, method string) *http.Request {
	var message []byte
	if c.Service != "" {
		message = protowire.AppendTag(message, 1, protowire.BytesType)
		message = protowire.AppendString(message, c.Service)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) // not compressed
	frame = append(frame, message...)
	to := url.URL{Scheme: "http", Host: c.authority(at), Path: method}
	if c.Secure {
		to.Scheme = "https"
	}
	q := &http.Request{
		Method: http.MethodPost, URL: &to, Host: to.Host, Body: io.NopCloser(bytes.NewReader(frame)),
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {agentName}},
	}
	if end, ok := ctx.Deadline(); ok && method == checkMethod {
		left := max(1, time.Until(end).Milliseconds())
		q.Header.Set("Grpc-Timeout", strconv.FormatInt(min(left, 99_999_999), 10)+"m") // eight digits at most
	}
	return q
}

// next reads a message, and io.EOF after the last one.
func (s *stream) next() (*serving, error) {
	var head [5]byte
	if _, err := io.ReadFull(s.answer.Body, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, errors.New("the message is compressed, which it was not asked for")
	case size > mostMessage:
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(s.answer.Body, message); errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF // it ends in a message
	} else if err != nil {
		return nil, err
	}
	return parseServing(message)
}

// follow tells what changes. A server that talks all the time is not listened
// to.
func (s *stream) follow(tell func(serving)) error {
	var last *serving
	var since time.Time
	for heard := 0; ; {
		says, err := s.next()
		if err != nil {
			return err
		}
		if time.Since(since) > time.Second {
			since, heard = time.Now(), 0
		}
		if heard++; heard > mostWords {
			return errFlood
		}
		if last == nil || *last != *says {
			last = says
			tell(*says)
		}
	}
}

// statusError is how a call ended: nil for the status 0. It stands behind the
// last message.
func statusError(h http.Header) error {
	code, message := h.Get("Grpc-Status"), h.Get("Grpc-Message")
	if text, err := url.PathUnescape(message); err == nil {
		message = text
	}
	message = clean(message)
	switch code {
	case "0":
		return nil
	case "5":
		return fmt.Errorf("%w: grpc status 5: %s", errUnknownService, message)
	case "12":
		return fmt.Errorf("%w: grpc status 12: %s", ErrUnimplemented, message)
	case "":
		return errors.New("it ended without a grpc-status")
	}
	return fmt.Errorf("grpc status %s: %s", clean(code), message)
}

// serving is ServingStatus of grpc.health.v1.
type serving uint64

// parseServing reads a HealthCheckResponse, whose field 1 is the status.
func parseServing(b []byte) (*serving, error) {
	var says serving
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeField(b)
		if n < 0 {
			return nil, fmt.Errorf("read the message: %w", protowire.ParseError(n))
		}
		if number == 1 && kind == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(b)
			v, _ := protowire.ConsumeVarint(b[tag:])
			says = serving(v)
		}
		b = b[n:]
	}
	return &says, nil
}

// read writes what the server says into a result. All but UNKNOWN is a word:
// a watch says it once, so nobody may wait for a second time.
func (s serving) read(r *Result) error {
	switch s {
	case 0:
		r.Note = "UNKNOWN"
	case 1:
		r.Note, r.Word = "SERVING", SaysUp
		return nil
	case 2:
		r.Note, r.Word = "NOT_SERVING", SaysDown
	case 3:
		r.Note, r.Word = "SERVICE_UNKNOWN", SaysDown
	default:
		r.Note = fmt.Sprintf("ServingStatus %d", uint64(s))
	}
	return errors.New("the server says " + r.Note)
}
