package exchange

import (
	"bytes"
	"html"
	"strconv"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/wire"
)

// Refuse answers the request with an error of our own, and ends the exchange.
// rule is the name of the rule that decided, if one did.
func (s *Session) Refuse(err *fault.Error, rule string) {
	s.refuse(err, rule)
	s.leaveUnread()
	s.end()
}

// Reply answers the request with a body of our own, and ends the exchange.
func (s *Session) Reply(contentType string, body []byte) {
	s.reply(&reply{status: 200, kind: fault.InternalResponse, contentType: contentType, body: body})
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
	rule        string
	contentType string
	body        []byte
}

// refuse writes an answer for an error. A rejected CONNECT closes (RFC 9931),
// and so does what leaves a body unread.
func (s *Session) refuse(err *fault.Error, rule string) {
	r := reply{status: err.Status(), kind: err.Kind, rule: rule, contentType: "text/plain; charset=utf-8"}
	say := err.Say()
	if rule != "" && err.Kind == fault.RequestDenied {
		say += " The rule that decided is " + rule + "."
	}
	if s.isBrowser() {
		r.contentType = "text/html; charset=utf-8"
		r.body = page(r.status, say)
	} else {
		r.body = []byte(say + "\n")
	}
	s.entry.Rule = rule
	if err.Err != nil && s.o.Log != nil {
		s.entry.Cause = err.Err.Error()
	}
	if err.Kind == fault.RequestError {
		s.entry.Target = harmless(s.entry.Target)
	}
	s.reply(&r)
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
	if string(s.req.Method) != "HEAD" {
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
// answers that the proxy makes itself.
var phrases = map[int]string{
	200: "OK", 400: "Bad Request", 403: "Forbidden", 407: "Proxy Authentication Required", 408: "Request Timeout",
	413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed", 421: "Misdirected Request",
	429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
	501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
}

func (s *Session) appendReply(b []byte, r *reply) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(append(b, ' '), phrases[r.status]...)
	if s.isConnect() {
		// Most clients show nothing of a refused CONNECT but this line.
		b = append(append(append(b, " ("...), r.kind.String()...), ')')
	}
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, dateFormat)
	b = append(b, "\r\nProxy-Status: viaduct; error="...)
	b = append(b, r.kind.String()...)
	if r.rule != "" {
		b = append(b, "; details="...)
		b = strconv.AppendQuoteToASCII(b, "rule "+r.rule)
	}
	b = append(append(b, "\r\nContent-Type: "...), r.contentType...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	if r.status == 503 {
		b = append(b, "\r\nRetry-After: 5"...)
	}
	if s.closing {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
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

func page(status int, say string) []byte {
	title := strconv.Itoa(status) + " " + phrases[status]
	return []byte("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + html.EscapeString(title) +
		"</title></head>\n<body><h1>" + html.EscapeString(title) + "</h1>\n<p>" + html.EscapeString(say) +
		"</p>\n<p>viaduct</p></body></html>\n")
}
