package exchange

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/wire"
)

// Record is what was decided about a request, by which rule, and when: at which
// step of its way. Log, metrics and answer tell the same.
type Record struct {
	Decision string // allow, deny or observe
	Rule     string // its name; "" when none had to decide
	Phase    string // client, auth, name, port, address or sni
	SNI      string // the name in a ClientHello, if that is what was judged
}

func (r *Record) enter(e *accesslog.Entry) {
	e.Decision, e.Rule, e.Phase, e.SNI = r.Decision, r.Rule, r.Phase, r.SNI
}

// Denied is a refusal by policy: what the client is told, and what is recorded.
type Denied struct { //nolint:errname // it reads as what it is: denied
	Fault *fault.Error
	Record
}

// Error is that of the fault.
func (d *Denied) Error() string { return d.Fault.Error() }

// Unwrap gives the fault to errors.As.
func (d *Denied) Unwrap() error { return d.Fault }

// Decided records what was decided about the request.
func (s *Session) Decided(r Record) { r.enter(&s.entry) }

// Last makes this exchange the last one on its connection.
func (s *Session) Last() { s.closing = true }

// Show has people told of another target than the one in the request, which is
// only a part of it. It must stay valid until Next.
func (s *Session) Show(target []byte) {
	s.shown = target
	if s.o.Log != nil {
		s.entry.Target = target
	}
}

// Inspected records by which rule the TLS of the request was opened.
func (s *Session) Inspected(rule string) { s.entry.Inspect = rule }

// Left tells whether an error of Wait says that the client has gone.
func (s *Session) Left(err error) bool { return errors.Is(err, errClientGone) }

// Known records who asks.
func (s *Session) Known(user string) { s.entry.User = user }

// Refuse answers the request with an error of our own, most often a *Denied or
// a *fault.Error, and ends the exchange.
func (s *Session) Refuse(err error) {
	if errors.Is(err, errClientGone) {
		s.giveUp()
	} else {
		s.refuse(err)
		s.leaveUnread()
	}
	s.end()
}

// Reply is an answer of our own that is no refusal.
type Reply struct {
	Status   int
	Type     string // Content-Type
	Location string // of a redirect
	Body     []byte
}

// Reply answers the request, and ends the exchange.
func (s *Session) Reply(r Reply) {
	s.reply(&reply{status: r.Status, kind: fault.InternalResponse, contentType: r.Type, location: r.Location, body: r.Body})
	s.leaveUnread()
	s.end()
}

// leaveUnread ends a connection after an answer that came before the body.
func (s *Session) leaveUnread() {
	if !s.client.BodyDone() || s.isConnect() {
		s.closing, s.unread = true, true
	}
}

func (s *Session) isConnect() bool { return string(s.req.Method) == "CONNECT" }

// reply is an answer of our own.
type reply struct {
	status      int
	kind        fault.Kind
	rule        string // that denied
	contentType string
	location    string
	body        []byte
}

// denies tells whether a rule has refused the request; what refuses to know who
// asks is none.
func (r *reply) denies() bool { return r.rule != "" && (r.status == 403 || r.status == 413) }

// bare tells whether the answer has no body and no word of one (RFC 9110
// section 8.6).
func (r *reply) bare() bool { return r.status == 204 || r.status == 304 }

// refuse writes an answer for an error. A rejected CONNECT closes (RFC 9931),
// and so does what leaves a body unread.
func (s *Session) refuse(cause error) {
	err := describe(cause)
	r := reply{status: err.Status(), kind: err.Kind, contentType: "text/plain; charset=utf-8"}
	if denied, ok := errors.AsType[*Denied](cause); ok {
		denied.enter(&s.entry)
		r.rule = denied.Rule
	}
	if s.isBrowser() {
		r.contentType = "text/html; charset=utf-8"
		r.body = s.page(&r, err.Say())
	} else {
		r.body = []byte(s.o.sentence(&r, err.Say()) + "\n")
	}
	if err.Err != nil && s.o.Log != nil {
		s.entry.Cause = err.Err.Error()
	}
	if err.Kind == fault.RequestError {
		s.entry.Target = harmless(s.entry.Target)
	}
	s.reply(&r)
}

// sentence is what a person reads: what happened, which rule decided, and whom
// to ask.
func (o *Options) sentence(r *reply, say string) string {
	if r.rule == "" {
		return say
	}
	if r.denies() {
		say += " The rule that decided is " + r.rule + "."
	}
	if o.Contact != "" {
		say += " Questions: " + o.Contact
	}
	return say
}

// harmless is what may be logged of a target that makes no sense: it may have a
// password in an odd place. Slices of it stay valid as long as the target.
func harmless(target []byte) []byte {
	if i := bytes.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	i := bytes.LastIndexByte(target, '@')
	if i < 0 {
		return target
	}
	scheme, _, ok := bytes.Cut(target[:i], []byte("://"))
	if !ok {
		return target[i+1:]
	}
	return append(append(bytes.Clone(scheme), "://"...), target[i+1:]...)
}

func (s *Session) reply(r *reply) {
	if _, whole := s.client.WholeBody(); whole {
		s.client.SkipBody()
	}
	if !s.client.BodyDone() || s.isConnect() || s.home.Draining.Load() {
		s.closing = true
	}
	s.entry.Status, s.entry.Ended = r.status, accesslog.Proxy
	if r.kind != fault.InternalResponse {
		s.entry.Fault = r.kind.String()
	}
	s.entry.First = clock.Now() - s.began
	out := wire.NewBuffer()
	defer out.Free()
	out.B = s.appendReply(out.B, r)
	t := stream{dst: s.client, out: out, stall: s.o.BodyTimeout, now: clock.Now()}
	if string(s.req.Method) != "HEAD" && !r.bare() {
		s.entry.Sent = int64(len(r.body))
		out.B = append(out.B, r.body...)
	}
	if t.flush() != nil {
		s.closing, s.entry.Ended = true, accesslog.Client
	}
}

// dateFormat is the IMF-fixdate of RFC 9110 section 5.6.7.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// phrases are the reason phrases of RFC 9110 section 15 and RFC 6585 for the
// answers that the proxy makes itself. Another has none.
var phrases = map[int]string{
	200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 205: "Reset Content",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 307: "Temporary Redirect", 308: "Permanent Redirect",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 413: "Content Too Large", 414: "URI Too Long",
	415: "Unsupported Media Type", 417: "Expectation Failed", 421: "Misdirected Request", 429: "Too Many Requests",
	431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons", 500: "Internal Server Error",
	501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}

func (s *Session) appendReply(b []byte, r *reply) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), phrases[r.status]...)
	if s.isConnect() || r.denies() {
		b = s.o.appendReason(b, r)
	}
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, dateFormat)
	b = append(b, "\r\nProxy-Status: viaduct; error="...)
	b = append(b, r.kind.String()...)
	if r.rule != "" {
		b = appendString(append(b, "; details="...), "rule "+r.rule)
	}
	if r.location != "" {
		b = append(append(b, "\r\nLocation: "...), r.location...)
	}
	if r.contentType != "" {
		b = append(append(b, "\r\nContent-Type: "...), r.contentType...)
	}
	if !r.bare() {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.body)), 10)
	}
	switch {
	case r.kind == fault.InternalResponse: // it is what the operator wants it to be
	case r.status == 407:
		b = append(append(b, "\r\nProxy-Authenticate: "...), s.o.Challenge...)
	case r.status == 429:
		b = append(b, "\r\nRetry-After: 6"...) // as auth.RetryAfter
	case r.status == 503:
		b = append(b, "\r\nRetry-After: 5"...)
	}
	if s.closing {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
}

// appendReason adds the reason to the status line: of a refused CONNECT most
// clients show nothing else, and of a denial many.
func (o *Options) appendReason(b []byte, r *reply) []byte {
	b = append(append(b, " ("...), r.kind.String()...)
	if r.rule != "" {
		b = appendText(append(b, ": rule "...), r.rule)
		if o.Contact != "" {
			b = appendText(append(b, "; "...), o.Contact)
		}
	}
	return append(b, ')')
}

// appendString adds a String (RFC 9651 section 3.3.3).
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := len(b)
	b = appendText(b, s)
	if bytes.ContainsAny(b[from:], `"\\`) {
		text := strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(string(b[from:]))
		b = append(b[:from], text...)
	}
	return append(b, '"')
}

// appendText adds what an operator wrote to a line of a head. What is not ASCII
// shows as a question mark.
func appendText(b []byte, s string) []byte {
	for _, c := range s {
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, byte(c))
	}
	return b
}

// isBrowser tells whether the client asks for HTML.
func (s *Session) isBrowser() bool {
	for i := range s.req.Fields {
		f := &s.req.Fields[i]
		if wire.Fold(f.Name, "accept") && bytes.Contains(f.Value, []byte("text/html")) {
			return true
		}
	}
	return false
}
