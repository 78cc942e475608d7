package filter_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"viaduct/filter"
)

// told is an outcome in brief.
func told(o *filter.Outcome) string {
	switch {
	case o == nil:
		return ""
	case o.Deny != nil:
		return fmt.Sprintf("%s %d %s", o.Name, o.Deny.Status(), o.Deny.Say())
	}
	return strings.TrimRight(fmt.Sprintf("%s %d %s%s %s", o.Name, o.Status, o.Type, o.Location, o.Body), " ")
}

const (
	content      = "f0 403 This kind of content is not allowed here."
	largeAnswer  = "f0 403 The answer is larger than is allowed here."
	largeRequest = "f0 413 The request is larger than is allowed here."
)

func TestRequestsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		deny   filter.Deny
		length int64
		fields []string
		want   string
		most   int64
	}{
		{"whatever matches", filter.Deny{}, 0, nil, "f0 403 This request is not allowed here.", -1},
		{"a type", filter.Deny{RequestType: []string{"application/zip"}}, 9, []string{"Content-Type: Application/ZIP; x=y"}, content, -1},
		{"another type", filter.Deny{RequestType: []string{"application/zip"}}, 9, []string{"Content-Type: application/zipper"}, "", -1},
		{"a large body", filter.Deny{RequestSize: 10}, 11, nil, largeRequest, -1},
		{"just not a large body", filter.Deny{RequestSize: 10}, 10, nil, "", -1},
		{"a body of unknown length", filter.Deny{RequestSize: 10}, -1, nil, "", 10},
		{"a large body of a type", filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10}, 11, []string{"Content-Type: a/b"}, largeRequest, -1},
		{"a large body of another type", filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10}, 11, []string{"Content-Type: a/c"}, "", -1},
		{"a type, unknown length", filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10}, -1, []string{"Content-Type: a/b"}, "", 10},
		{"another type, unknown length", filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10}, -1, []string{"Content-Type: a/c"}, "", -1},
		{"several parts", filter.Deny{RequestType: []string{"a/b"}}, 9, []string{"Content-Type: multipart/byteranges; boundary=x"}, "", -1},
		{"a part", filter.Deny{RequestSize: 10}, 9, []string{"Content-Range: bytes 0-8/99"}, "", -1},
		{"a type alone bounds nothing", filter.Deny{RequestType: []string{"a/b"}}, -1, []string{"Content-Type: a/c"}, "", -1},
		{"answers are not there yet", filter.Deny{RequestSize: 10, AnswerType: []string{"*/*"}}, 11, nil, "", -1},
		{"nor is a request cut for an answer's sake", filter.Deny{RequestSize: 10, AnswerSize: 1}, -1, nil, "", -1},
	} {
		s := matching(t, filter.Rule{Deny: &c.deny})
		r := request(t, "http://www.example.com/", c.length, c.fields...)
		if got := told(s.Request(r)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		most, o := s.RequestLimit(r)
		if most != c.most || (o == nil) != (c.most < 0) || o != nil && told(o) != largeRequest {
			t.Errorf("%s: %d bytes, %q, want %d", c.name, most, told(o), c.most)
		}
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	video := []string{"Content-Type: video/mp4"}
	for _, c := range []struct {
		name   string
		deny   filter.Deny
		sent   int64 // length of the request
		method string
		status int
		length int64
		fields []string
		want   string
		most   int64
	}{
		{"a type", filter.Deny{AnswerType: []string{"text/css", "Video/*"}}, 0, "GET", 200, 9, video, content, -1},
		{"another type", filter.Deny{AnswerType: []string{"video/*"}}, 0, "GET", 200, 9, []string{"Content-Type: text/html"}, "", -1},
		{"a type, unknown length", filter.Deny{AnswerType: []string{"video/*"}}, 0, "GET", 200, -1, video, content, -1},
		{"a type of HEAD", filter.Deny{AnswerType: []string{"video/*"}}, 0, "HEAD", 200, 9, video, content, -1},
		{"large", filter.Deny{AnswerSize: 100}, 0, "GET", 200, 101, nil, largeAnswer, -1},
		{"just not large", filter.Deny{AnswerSize: 100}, 0, "GET", 200, 100, nil, "", -1},
		{"unknown length", filter.Deny{AnswerSize: 100}, 0, "GET", 200, -1, nil, "", 100},
		{"large, HEAD", filter.Deny{AnswerSize: 100}, 0, "HEAD", 200, 101, nil, "", -1},
		{"large, not modified", filter.Deny{AnswerSize: 100}, 0, "GET", 304, 101, nil, "", -1},
		{"large, no content", filter.Deny{AnswerSize: 100}, 0, "GET", 204, 101, nil, "", -1},
		{"another protocol", filter.Deny{AnswerSize: 100}, 0, "GET", 101, -1, nil, "", -1},
		{"interim", filter.Deny{AnswerSize: 100}, 0, "GET", 103, 101, nil, "", -1},
		{"an error, large", filter.Deny{AnswerSize: 100}, 0, "GET", 500, 101, nil, largeAnswer, -1},
		{"HEAD of unknown length", filter.Deny{AnswerSize: 100}, 0, "HEAD", 200, -1, nil, "", -1},
		{"large of a type", filter.Deny{AnswerType: []string{"video/*"}, AnswerSize: 100}, 0, "GET", 200, 101, video, largeAnswer, -1},
		{"large of another type", filter.Deny{AnswerType: []string{"audio/*"}, AnswerSize: 100}, 0, "GET", 200, 101, video, "", -1},
		{"unknown length of a type", filter.Deny{AnswerType: []string{"video/*"}, AnswerSize: 100}, 0, "GET", 200, -1, video, "", 100},
		{"unknown length of another type", filter.Deny{AnswerType: []string{"audio/*"}, AnswerSize: 100}, 0, "GET", 200, -1, video, "", -1},
		{"both types", filter.Deny{RequestType: []string{"a/b"}, AnswerType: []string{"video/*"}}, 1, "POST", 200, 1, video, content, -1},
		{"type of the answer only", filter.Deny{RequestType: []string{"a/c"}, AnswerType: []string{"video/*"}}, 1, "POST", 200, 1, video, "", -1},
		{"size and type", filter.Deny{RequestSize: 10, AnswerType: []string{"video/*"}}, 11, "POST", 200, 1, video, content, -1},
		{"another size, and type", filter.Deny{RequestSize: 10, AnswerType: []string{"video/*"}}, 10, "POST", 200, 1, video, "", -1},
		{"a size that was not told, and type", filter.Deny{RequestSize: 10, AnswerType: []string{"video/*"}}, -1, "POST", 200, 1, video, content, -1},
		{"two sizes", filter.Deny{RequestSize: 10, AnswerSize: 100}, 11, "POST", 200, 101, nil, largeAnswer, -1},
		{"two sizes, one of them small", filter.Deny{RequestSize: 10, AnswerSize: 100}, 9, "POST", 200, -1, nil, "", -1},
		{"requests only", filter.Deny{RequestType: []string{"x/y"}}, 1, "POST", 200, -1, video, "", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(t, "http://www.example.com/", c.sent, "Content-Type: a/b")
			r.Method = c.method
			s := matching(t, filter.Rule{Deny: &c.deny})
			if o := s.Request(r); o != nil {
				t.Fatalf("the request: %s", told(o))
			}
			// A deny judges the message that came, not what was made of it: the
			// same is to be seen when the answer is there without its request.
			a := answer(r, c.status, c.length, c.fields...)
			r.Header.Del("Content-Type")
			if got := told(s.Answer(a)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			a.Header.Del("Content-Type")
			if most, o := s.AnswerLimit(a); most != c.most || (o == nil) != (c.most < 0) || o != nil && told(o) != largeAnswer {
				t.Errorf("%d bytes, %q, want %d", most, told(o), c.most)
			}
		})
	}
}

// TestAnswersOfUnknownRequests: a set that has not seen the request judges what
// it is shown, and does not let pass what it can't know.
func TestAnswersOfUnknownRequests(t *testing.T) {
	deny := filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10, AnswerType: []string{"video/*"}, AnswerSize: 100}
	for _, c := range []struct {
		request *http.Request
		want    string
		most    int64
	}{
		{nil, largeAnswer, 100},
		{request(t, "http://a.example/", 11, "Content-Type: a/b"), largeAnswer, 100},
		{request(t, "http://a.example/", 9, "Content-Type: a/b"), "", -1},
		{request(t, "http://a.example/", 11, "Content-Type: a/c"), "", -1},
	} {
		a := answer(c.request, 200, 101, "Content-Type: video/mp4")
		if got := told(matching(t, filter.Rule{Deny: &deny}).Answer(a)); got != c.want {
			t.Errorf("%v: %q, want %q", c.request, got, c.want)
		}
		a.ContentLength = -1
		if most, _ := matching(t, filter.Rule{Deny: &deny}).AnswerLimit(a); most != c.most {
			t.Errorf("%v: %d bytes, want %d", c.request, most, c.most)
		}
	}
	deny = filter.Deny{RequestType: []string{"a/b"}, RequestSize: 10}
	if most, _ := matching(t, filter.Rule{Deny: &deny}).RequestLimit(request(t, "http://a.example/", -1, "Content-Type: a/b")); most != 10 {
		t.Errorf("a request that was not asked about: %d bytes", most)
	}
}

func TestInterimAnswersSayNothingOfTheLastOne(t *testing.T) {
	s := matching(t, filter.Rule{Deny: &filter.Deny{AnswerType: []string{"video/*"}, AnswerSize: 100}})
	r := request(t, "http://a.example/", 0)
	if o := s.Answer(answer(r, 103, 0, "Link: x")); o != nil {
		t.Errorf("103: %s", told(o))
	}
	a := answer(r, 200, -1, "Content-Type: video/mp4")
	if o := s.Answer(a); o != nil {
		t.Errorf("200: %s", told(o))
	}
	if most, _ := s.AnswerLimit(a); most != 100 {
		t.Errorf("%d bytes", most)
	}
}

func TestTheSmallestBoundHolds(t *testing.T) {
	var rules []filter.Rule
	for _, n := range []int64{30, 20, 40, 20} {
		rules = append(rules, filter.Rule{Deny: &filter.Deny{RequestSize: n}}, filter.Rule{Deny: &filter.Deny{AnswerSize: n}})
	}
	s := matching(t, rules...)
	r := request(t, "http://a.example/", -1)
	s.Request(r)
	if most, o := s.RequestLimit(r); most != 20 || o.Name != "f2" || o.Index != 2 {
		t.Errorf("%d bytes, %s", most, told(o))
	}
	a := answer(r, 200, -1)
	s.Answer(a)
	if most, o := s.AnswerLimit(a); most != 20 || o.Name != "f3" || o.Index != 3 {
		t.Errorf("%d bytes, %s", most, told(o))
	}
}

func TestFiltersApplyInOrderUntilOneEndsIt(t *testing.T) {
	set := func(s string) *filter.Edit { return &filter.Edit{Set: []string{s}} }
	s := matching(
		t,
		filter.Rule{Request: set("X-A: 1"), Answer: set("X-B: 1")},
		filter.Rule{Request: set("Content-Type: a/b")},
		filter.Rule{Deny: &filter.Deny{RequestType: []string{"a/b"}}},
		filter.Rule{Request: set("X-A: 2"), Answer: set("X-B: 2")},
	)
	r := request(t, "http://a.example/", 0)
	if o := s.Request(r); o == nil || o.Index != 2 || lines(r.Header) != "Content-Type: a/b|X-A: 1" {
		t.Errorf("%s, %s", told(o), lines(r.Header))
	}
	a := answer(r, 200, 0)
	if o := s.Answer(a); o != nil || lines(a.Header) != "X-B: 2" {
		t.Errorf("%s, %s", told(o), lines(a.Header))
	}
}

// TestADenyJudgesWhatCame: before the edits of its own filter.
func TestADenyJudgesWhatCame(t *testing.T) {
	set := &filter.Edit{Set: []string{"Content-Type: text/plain"}}
	s := matching(t, filter.Rule{Request: set, Answer: set, Deny: &filter.Deny{RequestType: []string{"a/b"}, AnswerType: []string{"video/*"}}})
	r := request(t, "http://a.example/", 1, "Content-Type: a/b")
	if o := s.Request(r); o != nil || lines(r.Header) != "Content-Type: text/plain" {
		t.Fatalf("%s, %s", told(o), lines(r.Header))
	}
	if got := told(s.Answer(answer(r, 200, 1, "Content-Type: video/mp4"))); got != content {
		t.Errorf("%q", got)
	}
}

func TestAnswersOfOurOwn(t *testing.T) {
	for _, c := range []struct {
		rule filter.Rule
		want string
	}{
		{filter.Rule{Respond: &filter.Respond{}}, "f0 200 text/plain; charset=utf-8"},
		{filter.Rule{Respond: &filter.Respond{Status: 410, Type: "text/html", Body: []byte("<p>gone")}}, "f0 410 text/html <p>gone"},
		{filter.Rule{Respond: &filter.Respond{Status: 204, Type: "text/html"}}, "f0 204"},
		{filter.Rule{Redirect: &filter.Redirect{To: "https://new.example/x?y#z"}}, "f0 302 https://new.example/x?y#z"},
		{filter.Rule{Redirect: &filter.Redirect{To: "https://new.example/", Status: 308}}, "f0 308 https://new.example/"},
	} {
		s := matching(t, c.rule)
		o := s.Request(request(t, "http://a.example/b", 0))
		if told(o) != c.want || o.Deny != nil {
			t.Errorf("%q, want %q", told(o), c.want)
		}
	}
}

func TestRedirectsKeepThePath(t *testing.T) {
	for _, c := range []struct {
		to   string
		url  url.URL
		want string
	}{
		{"https://new.example", url.URL{Path: "/a b", RawQuery: "c=d"}, "https://new.example/a%20b?c=d"},
		{"https://new.example/", url.URL{Path: "/a"}, "https://new.example/a"},
		{"https://new.example/x//", url.URL{Path: "/a/"}, "https://new.example/x//a/"},
		{"https://new.example:8443", url.URL{}, "https://new.example:8443/"},
		{"https://new.example", url.URL{RawQuery: "x"}, "https://new.example/?x"},
		{"https://new.example", url.URL{Path: "/a%2fb", RawPath: "/a%252fb"}, "https://new.example/a%252fb"},
		// What would become another host, or more than a URL.
		{"https://new.example", url.URL{Path: "//evil.example/x"}, "https://new.example//evil.example/x"},
		{"https://new.example", url.URL{Path: ".evil.example/x"}, "https://new.example/.evil.example/x"},
		{"https://new.example", url.URL{Path: "@evil.example/x"}, "https://new.example/@evil.example/x"},
		{"https://new.example", url.URL{Path: ":80@evil.example/x"}, "https://new.example/:80@evil.example/x"},
		{"https://new.example", url.URL{Path: "*"}, "https://new.example/*"},
		{"https://new.example", url.URL{Opaque: "evil.example"}, "https://new.example/evil.example"},
		{"https://new.example", url.URL{Opaque: "//evil.example/x", Scheme: "http"}, "https://new.example/http://evil.example/x"},
		{"https://new.example", url.URL{Path: `/\evil.example`}, "https://new.example/%5Cevil.example"},
		{"https://new.example", url.URL{Path: "/", RawQuery: "a\r\nSet-Cookie: b=\"<\xff\x00#"}, "https://new.example/?a%0D%0ASet-Cookie:%20b=%22%3C%FF%00%23"},
	} {
		s := matching(t, filter.Rule{Redirect: &filter.Redirect{To: c.to, KeepPath: true}})
		c.url.Host = "old.example"
		o := s.Request(&http.Request{URL: &c.url})
		if o == nil || o.Location != c.want {
			t.Errorf("%s, %+v: %s, want %s", c.to, c.url, told(o), c.want)
		}
		if u, err := url.Parse(o.Location); err != nil || !strings.HasPrefix(u.Host, "new.example") {
			t.Errorf("%s leads to %v, %v", o.Location, u, err)
		}
		if again := s.Request(&http.Request{URL: &url.URL{Path: "/other"}}); again == o || o.Location != c.want {
			t.Error("one request's place is lent to another")
		}
	}
	if o := matching(t, filter.Rule{Redirect: &filter.Redirect{To: "http://a.example", KeepPath: true}}).Request(new(http.Request)); o.Location != "http://a.example/" {
		t.Errorf("no URL: %s", o.Location)
	}
}

func TestMediaTypes(t *testing.T) {
	for _, c := range []struct {
		types  string
		fields []string
		want   bool
	}{
		{"video/*", []string{"video/mp4"}, true},
		{"video/*", []string{"VIDEO/MP4 ; codecs=x"}, true},
		{"video/*", []string{" \tvideo/mp4\t"}, true},
		{"video/*", []string{"videos/mp4"}, false},
		{"video/*", []string{"video"}, false},
		{"video/*", []string{"text/html; x=video/mp4"}, false},
		{"video/mp4", []string{"video/mp4v"}, false},
		{"video/mp4", []string{"video/mp4;"}, true},
		{"video/mp4", []string{"video/mp4;;=;\""}, true},
		{"video/mp4", []string{"video/mp4 garbage"}, true},
		{"video/mp4", []string{"video/mp4(comment)"}, true},
		{"video/mp4", []string{"text/plain, video/mp4"}, true},
		{"video/mp4", []string{"text/plain; a=b,video/mp4;q=1"}, true},
		{"video/mp4", []string{",,video/mp4,"}, true},
		{"video/mp4", []string{"text/plain", "video/mp4"}, true},
		{"video/mp4", []string{"video/mp4", "text/plain"}, true},
		{"video/mp4", []string{"", "video/mp4"}, true},
		{"video/mp4 audio/*", []string{"audio/"}, true},
		{"video/* text/*", []string{}, false},
		{"video/* text/*", []string{""}, false},
		{"video/* text/*", []string{";"}, false},
		{"video/* text/*", []string{"/", "*", "*/*", "\xff\x00"}, false},
		{"*/*", []string{}, true},
		{"*/*", []string{"", "x"}, true},
		{"text/css */*", []string{"text/html"}, true},
		{"video/mp4", []string{"multipart/byteranges; boundary=x"}, true},
		{"video/*", []string{"Multipart/ByteRanges"}, true},
		{"video/mp4", []string{"multipart/x-byteranges; boundary=x"}, true},
		{"video/mp4", []string{"text/plain, multipart/byteranges;boundary=x"}, true},
		{"video/mp4", []string{"text/plain", "multipart/byteranges(x)"}, true},
		{"video/mp4", []string{"multipart/byterange"}, false},
		{"video/mp4", []string{"multipart/mixed; x=multipart/byteranges"}, false},
		{"text/css", []string{strings.Repeat("a,", 30000) + "text/css"}, true},
	} {
		s := matching(t, filter.Rule{Deny: &filter.Deny{AnswerType: strings.Fields(c.types)}})
		a := answer(request(t, "http://a.example/", 0), 200, 1)
		if len(c.fields) > 0 {
			a.Header["Content-Type"] = c.fields
		}
		if got := s.Answer(a) != nil; got != c.want {
			t.Errorf("%s of %.60q: %v", c.types, c.fields, got)
		}
	}
}

func TestPartsOfLargerAnswers(t *testing.T) {
	const kind = "Content-Type: video/mp4"
	type row struct {
		name, method string
		status       int
		length       int64
		fields       []string
		want         string
		most         int64
	}
	rows := []row{
		{"of a large whole", "GET", 206, 2, []string{"Content-Range: bytes 0-1/9999999", kind}, largeAnswer, -1},
		{"of one byte too many", "GET", 206, 2, []string{"Content-Range: bytes 0-1/101", kind}, largeAnswer, -1},
		{"of one that is just not large", "GET", 206, 2, []string{"Content-Range: bytes 98-99/100", kind}, "", -1},
		{"all of it", "GET", 206, 1, []string{"Content-Range: Bytes 0-0/1", kind}, "", -1},
		{"zeros before it", "GET", 206, 2, []string{"Content-Range: bytes 00-001/0100", kind}, "", -1},
		{"larger than the whole that is told", "GET", 206, 101, []string{"Content-Range: bytes 0-1/2", kind}, largeAnswer, -1},
		{"unknown length", "GET", 206, -1, []string{"Content-Range: bytes 0-1/100", kind}, "", 100},
		{"unknown length, of a large whole", "GET", 206, -1, []string{"Content-Range: bytes 0-1/101", kind}, largeAnswer, -1},
		{"not told", "GET", 206, 2, []string{kind}, largeAnswer, -1},
		{"told twice", "GET", 206, 2, []string{"Content-Range: bytes 0-1/2", "Content-Range: bytes 0-1/2", kind}, largeAnswer, -1},
		{"several parts", "GET", 206, 50, []string{"Content-Type: multipart/byteranges; boundary=x"}, largeAnswer, -1},
		{"several parts, told nonetheless", "GET", 206, 50, []string{"Content-Range: bytes 0-1/2", "Content-Type: multipart/byteranges; boundary=x"}, largeAnswer, -1},
		{"several parts, an old name", "GET", 206, 50, []string{"Content-Range: bytes 0-1/2", "Content-Type: Multipart/X-ByteRanges"}, largeAnswer, -1},
		{"several parts in a list", "GET", 206, 50, []string{"Content-Range: bytes 0-1/2", "Content-Type: text/plain, multipart/byteranges"}, largeAnswer, -1},
		{"another type", "GET", 206, 2, []string{"Content-Range: bytes 0-1/9999999", "Content-Type: text/html"}, "", -1},
		{"HEAD", "HEAD", 206, 2, []string{"Content-Range: bytes 0-1/9999999", kind}, "", -1},
		{"no part after all", "GET", 200, 2, []string{"Content-Range: bytes 0-1/9999999", kind}, "", -1},
		{"a range that is not there", "GET", 416, 2, []string{"Content-Range: bytes */9999999", kind}, "", -1},
	}
	for _, told := range []string{
		"", "bytes", "bytes ", "bytes */100", "bytes 0-1/*", "bytes */*", "bytes 0-1", "bytes 0-1/", "bytes 0/9", "bytes -1/9", "bytes 1-/9", "bytes 0-1/-9",
		"bytes +0-1/9", "bytes 0-1/+9", "bytes 0-1/9x", "bytes 0-1/9, bytes 0-1/9", "bytes 0-1/9/9", "bytes 0-1-2/9", "bytes 2-1/9", "bytes 0-9/9", "bytes 0-1/0x9",
		"bytes 0-1/1_0", "bytes  0-1/9", "bytes\t0-1/9", "bytes=0-1/9", "0-1/9", "items 0-1/9", "none 0-1/9", "bytes 0-1/ 9", "bytes 0-1/9;", "bytes 0-1/٩",
		"bytes 0-1/9223372036854775808", "bytes 0-1/18446744073709551617", "bytes 0-1/" + strings.Repeat("9", 40000), "bytes 9999998-9999999/10", "\xff\x00/",
	} {
		rows = append(rows, row{told, "GET", 206, 2, []string{"Content-Range: " + told, kind}, largeAnswer, -1})
	}
	for _, c := range rows {
		r := request(t, "http://a.example/", 0)
		r.Method = c.method
		s := matching(t, filter.Rule{Deny: &filter.Deny{AnswerType: []string{"video/*"}, AnswerSize: 100}})
		a := answer(r, c.status, c.length, c.fields...)
		got := told(s.Answer(a))
		if got != c.want {
			t.Errorf("%.60q: %q, want %q", c.name, got, c.want)
		}
		if most, _ := s.AnswerLimit(a); got == "" && most != c.most {
			t.Errorf("%.60q: %d bytes, want %d", c.name, most, c.most)
		}
	}
	// Where no size is asked, a part is as good as the whole.
	s := matching(t, filter.Rule{Deny: &filter.Deny{AnswerType: []string{"text/css"}}})
	if o := s.Answer(answer(request(t, "http://a.example/", 0), 206, 2, "Content-Range: bytes 0-1/*", kind)); o != nil {
		t.Errorf("no size: %s", told(o))
	}
}

func TestConditional(t *testing.T) {
	deny := func(d filter.Deny) filter.Rule { return filter.Rule{Deny: &d} }
	edit := filter.Rule{Request: edits()}
	byType, anyType := deny(filter.Deny{RequestType: []string{"a/b"}}), deny(filter.Deny{RequestType: []string{"*/*"}})
	bySize, byAnswer := deny(filter.Deny{RequestSize: 10}), deny(filter.Deny{AnswerType: []string{"a/b"}})
	both := deny(filter.Deny{RequestType: []string{"a/b"}, AnswerSize: 10})
	for _, c := range []struct {
		rules          []filter.Rule
		before, behind string // before and behind a request without anything
	}{
		{nil, "", ""},
		{[]filter.Rule{edit, edit}, "", ""},
		{[]filter.Rule{edit, byType, bySize, byAnswer, both}, "f1 f2 f3 f4", "f1 f2 f3 f4"},
		{[]filter.Rule{byType, {Redirect: &filter.Redirect{To: "http://a.example"}}, bySize}, "f0", "f0"},
		{[]filter.Rule{byType, {Redirect: &filter.Redirect{To: "http://a.example", KeepPath: true}}, bySize}, "f0", "f0"},
		{[]filter.Rule{byAnswer, {Respond: &filter.Respond{}}, bySize}, "f0", "f0"},
		{[]filter.Rule{deny(filter.Deny{}), bySize}, "", ""},
		{[]filter.Rule{bySize, anyType, byAnswer}, "f0 f1 f2", "f0"},
	} {
		s := compile(t, c.rules...).Matching(query("GET", "/"))
		if got := strings.Join(s.Conditional(), " "); got != c.before {
			t.Errorf("before: %q, want %q", got, c.before)
		}
		s.Request(new(http.Request))
		if got := strings.Join(s.Conditional(), " "); got != c.behind {
			t.Errorf("behind: %q, want %q", got, c.behind)
		}
	}
	s := matching(t, both, byAnswer, byAnswer)
	r := request(t, "http://a.example/", 1, "Content-Type: x/y")
	s.Request(r)
	if o := s.Answer(answer(r, 200, 1, "Content-Type: a/b")); o == nil || len(s.Conditional()) != 0 {
		t.Errorf("%v have not decided, and %s", s.Conditional(), told(o))
	}
}
