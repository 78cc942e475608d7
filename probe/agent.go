package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	mostAgent  = 4 << 10
	mostWeight = 25600 // percent; HAProxy's
	mostLimit  = 1 << 30
)

// askAgent asks the agent of an endpoint. An agent that cannot be asked is an
// error without a word: it says nothing of the endpoint beside it.
func (c Check) askAgent(ctx context.Context, e Endpoint, r *Result) error {
	if c.Path != "" {
		return c.askAgentHTTP(ctx, e, r)
	}
	l, err := c.speak(ctx, e)
	if err != nil {
		return err
	}
	defer l.close()
	line, err := l.firstLine()
	if err != nil {
		return fmt.Errorf("read the agent's line: %w", overdue(ctx, err))
	}
	return readLine(line, r)
}

// firstLine reads up to the end of a line or of the connection.
func (l *line) firstLine() (string, error) {
	b := make([]byte, 0, mostAgent)
	for len(b) < cap(b) {
		n, err := l.conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
			return string(b[:i]), nil
		}
		if errors.Is(err, io.EOF) {
			return string(b), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("it has no end within %d bytes", mostAgent)
}

// readLine reads the words of HAProxy's agent-check: up, down, stopped, fail,
// ready, drain, maint, 75% and maxconn:30, in any order and letter case, with
// blanks or commas between. What follows a # is for people. A word that is not
// known is ignored beside one that is: agents grow.
func readLine(line string, r *Result) error {
	words, said, _ := strings.Cut(line, "#")
	known, unknown := 0, ""
	for word := range strings.FieldsFuncSeq(words, func(c rune) bool { return c == ' ' || c == ',' || c == '\t' }) {
		if r.read(word) {
			known++
		} else if unknown == "" {
			unknown = word
		}
	}
	if known == 0 {
		return fmt.Errorf("the agent says %.60q: none of up, down, drain, maint, ready, stopped, fail, 75%%, maxconn:30", line)
	}
	r.Note = clean(words)
	if said = clean(said); said != "" {
		r.Note += ": " + said
	}
	if unknown != "" {
		r.Note = join(r.Note, "ignored "+clean(unknown))
	}
	return r.verdict()
}

// read takes one word, if it knows it.
func (r *Result) read(word string) bool {
	word = strings.ToLower(word)
	if said, ok := wordOf(word); ok {
		r.Word = max(r.Word, said)
		return true
	}
	if digits, ok := strings.CutSuffix(word, "%"); ok {
		n, ok := number(digits, mostWeight)
		if ok {
			r.Weight = n
		}
		return ok
	}
	if digits, ok := strings.CutPrefix(word, "maxconn:"); ok {
		n, ok := number(digits, mostLimit)
		if ok {
			r.Limit = n
		}
		return ok
	}
	return false
}

func wordOf(s string) (Word, bool) {
	if s == "fail" {
		return SaysDown, true
	}
	for w := SaysUp; w <= SaysMaint; w++ {
		if s == w.String() {
			return w, true
		}
	}
	return NoWord, false
}

func number(digits string, most int) (int, bool) {
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), err == nil && n <= uint64(most)
}

// verdict is an error for an endpoint that says it is down.
func (r *Result) verdict() error {
	if r.Word == SaysDown || r.Word == SaysStopped {
		return errors.New("the agent says " + r.Note)
	}
	return nil
}

// askAgentHTTP reads the same words as JSON over HTTP.
func (c Check) askAgentHTTP(ctx context.Context, e Endpoint, r *Result) error {
	c.Method = "" // the agent is asked, never told
	l, a, err := c.exchange(ctx, e)
	if err != nil {
		return err
	}
	defer l.close()
	if a.StatusCode/100 != 2 {
		r.Note = status(a)
		return fmt.Errorf("the agent answers with status %d, not of 200-299", a.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(a.Body, mostAgent+1))
	if err != nil {
		return fmt.Errorf("read the agent's answer: %w", overdue(ctx, err))
	}
	if len(b) > mostAgent {
		return fmt.Errorf("the agent's answer has more than %d bytes", mostAgent)
	}
	return readJSON(b, r)
}

// readJSON reads {"state": "drain", "weight": 75, "maxconn": 30}, of which one
// is enough. Members that it doesn't know are ignored.
func readJSON(b []byte, r *Result) error {
	var said struct {
		State   *string `json:"state"`
		Weight  *int    `json:"weight"`
		Maxconn *int    `json:"maxconn"`
	}
	const form = `write {"state": "drain", "weight": 75, "maxconn": 30}, or one of them`
	if err := json.Unmarshal(b, &said); err != nil {
		return fmt.Errorf("the agent's answer is not as expected, %s: %w", form, err)
	}
	switch {
	case said.State == nil && said.Weight == nil && said.Maxconn == nil:
		return errors.New("the agent says nothing: " + form)
	case said.Weight != nil && (*said.Weight < 0 || *said.Weight > mostWeight):
		return fmt.Errorf("the agent says weight %d: write percent", *said.Weight)
	case said.Maxconn != nil && (*said.Maxconn < 0 || *said.Maxconn > mostLimit):
		return fmt.Errorf("the agent says maxconn %d: write 0 or more", *said.Maxconn)
	}
	if said.State != nil {
		if err := readLine(*said.State, r); err != nil && r.Word == NoWord {
			return err
		}
	}
	if said.Weight != nil {
		r.Weight = *said.Weight
		r.Note = join(r.Note, fmt.Sprintf("weight %d%%", r.Weight))
	}
	if said.Maxconn != nil {
		r.Limit = *said.Maxconn
		r.Note = join(r.Note, fmt.Sprintf("maxconn %d", r.Limit))
	}
	return r.verdict()
}
