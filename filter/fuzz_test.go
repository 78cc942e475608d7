package filter_test

import (
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"viaduct/filter"
	"viaduct/hop"
)

// FuzzEdits: what Compile lets through writes only fields that are valid and
// that belong to the operator, whatever comes in.
func FuzzEdits(f *testing.F) {
	f.Add("X-Team: payments", "Cookie", "User-Agent", "^curl/(.*)", "curl $1", "curl/8\xff", "a")
	f.Add("X_a:\t", "te", "X-A", "a*|(?P<x>b)", "${x}$$", "baab", " ")
	f.Add("Host : x\r\n", "proxy-", "location", `\b`, "$1x", "a b", "\x80")
	f.Fuzz(func(t *testing.T, set, remove, header, match, with, one, other string) {
		if !httpguts.ValidHeaderFieldValue(one) || !httpguts.ValidHeaderFieldValue(other) {
			t.Skip() // the parser refuses it
		}
		one, other = strings.Trim(one, " \t"), strings.Trim(other, " \t")
		rule := filter.Rule{Name: "x", Request: &filter.Edit{
			Set: []string{set}, Remove: []string{remove}, Replace: []filter.Replace{{header, match, with}},
		}}
		chain, err := filter.Compile([]filter.Rule{rule}, hop.Transparent)
		problems := filter.CheckRule(&rule, hop.Transparent)
		if err == nil && len(problems) > 0 || err != nil && len(problems) > 0 && err.Error() != problems[0].Error() {
			t.Fatalf("%v, and checked: %v", err, problems)
		}
		if err != nil {
			return
		}
		key := textproto.CanonicalMIMEHeaderKey(header)
		r := &http.Request{Header: http.Header{"Host": {"h"}, "Content-Length": {"1"}, "Te": {"x"}, key: {one, other}}}
		r.Header[textproto.CanonicalMIMEHeaderKey(remove)] = []string{one}
		if o := chain.Matching(query("GET", "/")).Request(r); o != nil {
			t.Fatalf("an edit ends a request: %+v", o)
		}
		if _, there := r.Header[textproto.CanonicalMIMEHeaderKey(remove)]; there {
			t.Errorf("%q is still there", remove)
		}
		if lines(http.Header{"Host": r.Header["Host"], "Content-Length": r.Header["Content-Length"], "Te": r.Header["Te"]}) != "Content-Length: 1|Host: h|Te: x" {
			t.Errorf("not ours to change: %s", lines(r.Header))
		}
		for name, values := range r.Header {
			for _, v := range values {
				if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v) || strings.Trim(v, " \t") != v || textproto.CanonicalMIMEHeaderKey(name) != name {
					t.Errorf("%q: %q", name, v)
				}
			}
		}
		want := strings.Trim(regexp.MustCompile(match).ReplaceAllString(one, with), " \t")
		if values := r.Header[key]; len(want) < 1000 && len(one)+len(other) < 1000 && len(with) < 10 && (len(values) != 2 || values[0] != want) {
			t.Errorf("%q: %q, want %q", one, values, want)
		}
	})
}

// FuzzRules: whatever is written, checking and compiling agree and nothing
// panics; what ends a request can be sent as it is.
func FuzzRules(f *testing.F) {
	f.Add("video/*", int64(5), 200, "text/html", "https://a.example/x", 302, true, "/a/b", "c=d", "video/mp4")
	f.Add("*/*", int64(-1), 204, "text/html; a=\"", "http://[::1]", 308, true, "*", "\r\n", ",;")
	f.Add("a/*b", int64(0), 700, "", "http://a@b", 0, false, "//evil.example", "#", "a/b")
	f.Add("video/*", int64(0), 200, "", "http://a", 302, false, "/", "", "video/mp4")
	f.Fuzz(func(t *testing.T, kind string, size int64, status int, written, to string, code int, keep bool, path, query string, got string) {
		for _, rule := range []filter.Rule{
			{Deny: &filter.Deny{RequestType: []string{kind}, RequestSize: size}},
			{Deny: &filter.Deny{AnswerType: []string{kind}, AnswerSize: size}},
			{Respond: &filter.Respond{Status: status, Type: written, Body: []byte(got)}},
			{Redirect: &filter.Redirect{To: to, KeepPath: keep, Status: code}},
		} {
			rule.Name = "x"
			chain, err := filter.Compile([]filter.Rule{rule}, hop.Strict)
			if (err == nil) != (len(filter.CheckRule(&rule, hop.Strict)) == 0) {
				t.Fatalf("%v, and checked: %v", err, filter.CheckRule(&rule, hop.Strict))
			}
			if err != nil {
				continue
			}
			s := chain.Matching(query0)
			r := &http.Request{Method: "GET", URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Content-Type": {got}}, ContentLength: -1}
			o := s.Request(r)
			s.RequestLimit(r)
			if o == nil {
				a := &http.Response{Request: r, StatusCode: status, Header: http.Header{"Content-Type": {got}}, ContentLength: -1}
				s.Answer(a)
				s.AnswerLimit(a)
				continue
			}
			if rule.Deny != nil { // the kind of the fault says the status
				if o.Deny == nil || o.Status != 0 || o.Location != "" {
					t.Errorf("%+v is no denial", o)
				}
				continue
			}
			if !httpguts.ValidHeaderFieldValue(o.Location) || !httpguts.ValidHeaderFieldValue(o.Type) || o.Status < 200 || o.Status > 599 {
				t.Errorf("%+v can't be sent", o)
			}
			was, _ := url.Parse(to)
			if is, err := url.Parse(o.Location); rule.Redirect != nil && (err != nil || is.Host != was.Host || is.Scheme != was.Scheme) {
				t.Errorf("%q leads from %s to %v: %v", o.Location, to, is, err)
			}
		}
	})
}

// FuzzParts: what passes as a part of something small says so in the letters of
// RFC 9110 section 14.4.
func FuzzParts(f *testing.F) {
	f.Add("bytes 0-1/2", "video/mp4", int64(2))
	f.Add("BYTES 007-99/100", "", int64(-1))
	f.Add("bytes */101", "multipart/byteranges; boundary=x", int64(0))
	valid := regexp.MustCompile(`^[Bb][Yy][Tt][Ee][Ss] [0-9]+-[0-9]+/0*(100|[1-9][0-9]?)$`)
	f.Fuzz(func(t *testing.T, told, kind string, length int64) {
		s := matching(t, filter.Rule{Deny: &filter.Deny{AnswerSize: 100}})
		a := &http.Response{StatusCode: 206, ContentLength: length, Header: http.Header{"Content-Range": {told}, "Content-Type": {kind}}}
		if s.Answer(a) != nil {
			return
		}
		if length > 100 || !valid.MatchString(strings.Trim(told, " \t")) || strings.HasPrefix(strings.ToLower(kind), "multipart/byteranges") && len(kind) == 20 {
			t.Errorf("%q with %q and %d bytes passes", told, kind, length)
		}
	})
}

var query0 = query("GET", "/")
