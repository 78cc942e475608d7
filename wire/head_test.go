package wire_test

import (
	"testing"

	"viaduct/wire"
)

// TestHeadIsUsedAgain: one Head reads all messages of the tables, good and bad,
// and nothing of one is found in the next.
func TestHeadIsUsedAgain(t *testing.T) {
	var used wire.Head
	for _, in := range requestSeeds() {
		var fresh wire.Head
		want := readRequest(open(t, whole(in)), &fresh)
		if got := readRequest(open(t, whole(in)), &used); !got.same(&want) || describe(&used) != describe(&fresh) {
			t.Errorf("%q\n used %s\nfresh %s", in, &got, &want)
		}
	}
	for _, in := range answerSeeds() {
		var fresh wire.Head
		want := readResponse(open(t, whole(in)), &fresh, false)
		if got := readResponse(open(t, whole(in)), &used, false); !got.same(&want) || describe(&used) != describe(&fresh) {
			t.Errorf("%q\n used %s\nfresh %s", in, &got, &want)
		}
	}
}

func TestFieldsAreFoundByTheirNames(t *testing.T) {
	names := map[wire.Name]string{
		wire.ContentLength: "cOnTent-length", wire.TransferEncoding: "Transfer-ENCODING", wire.Connection: "CONNECTION",
		wire.Host: "host", wire.Expect: "EXPECT", wire.Upgrade: "uPgrade", wire.Trailer: "traiLer", wire.TE: "tE",
		wire.MaxForwards: "max-FORWARDS", wire.Via: "VIA",
	}
	values := map[wire.Name]string{
		wire.ContentLength: "5", wire.TransferEncoding: "chunked", wire.Connection: "close", wire.Host: "a", wire.Expect: "100-continue",
	}
	for n, name := range names {
		value := values[n]
		if value == "" {
			value = "x"
		}
		var h wire.Head
		_ = h.ParseRequest([]byte("GET / HTTP/1.1\r\n" + "X: y\r\n" + name + ": " + value + "\r\n\r\n"))
		if len(h.Fields) != 2 || h.Fields[0].ID != wire.Other || h.Fields[1].ID != n || !h.Has(n) || string(h.Get(n)) != value {
			t.Errorf("%s: %s", name, describe(&h))
		}
		for other := range names {
			if other != n && (h.Has(other) || h.Get(other) != nil) {
				t.Errorf("%s: %s is there too", name, names[other])
			}
		}
	}
}

// TestNamesThatAreNearlyKnown are fields like any other.
func TestNamesThatAreNearlyKnown(t *testing.T) {
	for _, name := range []string{
		"Content-Lengt", "Content-Length2", "Content Length", "Content_Length", "Transfer-Encodin", "Transfer_Encoding",
		"Connectio.", "Hosts", "H0st", "Hosu", "Expec1", "Upgradf", "Trailet", "TF", "Vib", "Max_Forwards", "COnnection1",
	} {
		var h wire.Head
		_ = h.ParseRequest([]byte("GET / HTTP/1.1\r\n" + name + ": x\r\n\r\n"))
		for i := range h.Fields {
			if h.Fields[i].ID != wire.Other {
				t.Errorf("%s is taken for field %d", name, h.Fields[i].ID)
			}
		}
	}
}

func TestFirstOfTwoFieldsIsTheOneThatIsGot(t *testing.T) {
	var h wire.Head
	if err := h.ParseRequest([]byte(lines("GET / HTTP/1.1", "Host: a", "Via: 1", "Via: 2"))); err != nil || string(h.Get(wire.Via)) != "1" {
		t.Errorf("%q, %v", h.Get(wire.Via), err)
	}
}

// TestTrailerIsThatOfTheLastBody, and of no body before it.
func TestTrailerIsThatOfTheLastBody(t *testing.T) {
	c := open(t, whole(chunkedHead+"0\r\nX: y\r\n\r\n"+chunkedHead+"0\r\n\r\n"+question+chunkedHead+"0\r\nZ: w\r\n\r\n"))
	for i, want := range []string{"x: y", "", "", "z: w"} {
		var h wire.Head
		m := readRequest(c, &h)
		if m.err != nil || len(m.trailer) != min(1, len(want)) || want != "" && m.trailer[0] != want {
			t.Errorf("message %d: %s", i, &m)
		}
	}
}

func TestTokensAndFolding(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "A-1!#$%&'*+.^_`|~": true, "": false, "a b": false, "a,": false, "\xe9": false, "a\x00": false, "a(": false} {
		if wire.IsToken([]byte(s)) != want {
			t.Errorf("IsToken(%q) is %v", s, !want)
		}
	}
	for s, want := range map[string]bool{"close": true, "CLOSE": true, "cLoSe": true, "clos": false, "closes": false, "cl\x4f\x13e": false, "#LOSE": false, "clo\u017fe": false} {
		if wire.Fold([]byte(s), "close") != want {
			t.Errorf("Fold(%q) is %v", s, !want)
		}
	}
}
