package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"viaduct/admin"
	"viaduct/config"
	"viaduct/forward"
	"viaduct/metrics"
	"viaduct/snapshot"
)

// asked are the flags that are parameters of the question.
func asked() []string { return []string{"method", "user", "client", "addr", "listener"} }

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "say what would happen to a request, and why",
		UsageText: "viaduct explain -c FILE [flags] [METHOD] URL\n" +
			"viaduct explain --admin ADDR [flags] [METHOD] URL",
		Description: "URL is http://host/path, host:port for a CONNECT, or https://host/path for a CONNECT\n" +
			"and the request inside, which is seen where the tunnel is inspected. Nothing is sent,\n" +
			"and no name is looked up: what the address of a host decides is left open, unless\n" +
			"--addr says which it is. --admin asks a running instance.",
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "user", Usage: "who asks: a `USER` that has authenticated"},
			&cli.StringFlag{Name: "client", Usage: "the `IP` that it comes from (default: this machine)"},
			&cli.StringFlag{Name: "addr", Usage: "the `IP` that the host's name leads to"},
			&cli.StringFlag{Name: "method", Usage: "the `METHOD`, as the word before the URL"},
			&cli.StringFlag{Name: "listener", Usage: "only the entry of this `NAME` or listen address"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true},
			&cli.StringFlag{Name: "admin", Usage: "ask the instance with this admin `ADDR`"},
			&cli.StringFlag{Name: "admin-token-file", Usage: "the `FILE` with its token"},
		},
		Action: explain,
	}
}

func explain(c *cli.Context) error {
	question, err := readQuestion(c)
	if err != nil {
		return err
	}
	var found []forward.Explanation
	switch {
	case c.IsSet("admin") && c.IsSet("config"):
		return usageError("-c asks the file and --admin a running instance: choose one")
	case c.IsSet("admin"):
		found, err = askInstance(c, question)
	case c.IsSet("admin-token-file"):
		return usageError("--admin-token-file goes with --admin ADDR")
	default:
		found, err = askFile(c, question)
	}
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return usageError("there is no forward proxy that this could be asked of")
	case c.Bool("json"):
		out := json.NewEncoder(c.App.Writer)
		out.SetIndent("", "  ")
		return out.Encode(found)
	}
	return printExplanations(c.App.Writer, found)
}

// readQuestion reads words and flags, of which only the words are looked at.
func readQuestion(c *cli.Context) (url.Values, error) {
	v := url.Values{}
	for _, name := range asked() {
		if c.IsSet(name) {
			v.Set(name, c.String(name))
		}
	}
	words := slices.DeleteFunc(c.Args().Slice(), func(word string) bool { return word == "--" })
	if len(words) == 2 && words[0] != "" && strings.Trim(words[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == "" {
		if v.Has("method") {
			return nil, usageError(fmt.Sprintf("the method is there twice: leave %s or --method out", words[0]))
		}
		v.Set("method", words[0])
		words = words[1:]
	}
	switch len(words) {
	case 0:
		return nil, usageError("what is asked for? write viaduct explain -c FILE http://example.com/")
	case 1:
		v.Set("url", words[0])
		return v, nil
	}
	return nil, usageError(fmt.Sprintf("write one URL, and no more before it than the method in upper case, but there is %q", words[1]))
}

// askFile answers from the file alone.
func askFile(c *cli.Context, v url.Values) ([]forward.Explanation, error) {
	file, err := configFile(c)
	if err != nil {
		return nil, err
	}
	q, err := parseQuestion(v)
	if err != nil {
		return nil, err
	}
	conf, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	if names := snapshot.Names(conf); q.Listener != "" && !slices.Contains(names, q.Listener) {
		return nil, usageError(fmt.Sprintf("--listener %s: there are %s", q.Listener, strings.Join(names, ", ")))
	}
	return snapshot.Explain(conf, q)
}

// parseQuestion reads a question as the admin address does.
func parseQuestion(v url.Values) (forward.Question, error) {
	q, err := admin.ParseExplain(v)
	if wrong, ok := errors.AsType[*admin.ParameterError](err); ok && slices.Contains(asked(), wrong.Name) {
		return forward.Question{}, usageError("--" + err.Error())
	}
	if err != nil {
		return forward.Question{}, usageError(err.Error())
	}
	return forward.Question(q), nil
}

// printExplanations writes what people read: a verdict a line, and below it what
// led to it.
func printExplanations(out io.Writer, all []forward.Explanation) error {
	var b strings.Builder
	for i := range all {
		e := &all[i]
		if len(all) > 1 {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(plain(strings.Join(e.Listen, ", ")) + ": ")
		}
		writeExplanation(&b, e)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// writeExplanation writes a verdict with what led to it, and below them the same
// of the request inside a tunnel.
func writeExplanation(b *strings.Builder, e *forward.Explanation) {
	if e.Inside != nil {
		b.WriteString("tunnel: ")
	}
	b.WriteString(verdict(e) + "\n")
	if i := e.Inspect; i != nil {
		b.WriteString("inspect: " + strings.TrimSpace(plain(i.Rule)+" "+plain(i.Result)) + "\n")
	}
	if e.Open != "" {
		b.WriteString("open: " + plain(e.Open) + "\n")
	}
	if len(e.Filters) > 0 {
		b.WriteString("filters: " + plain(strings.Join(e.Filters, ", ")) + "\n")
	}
	writeSteps(b, e.Rules)
	if e.Inside != nil {
		b.WriteString("inside: ")
		writeExplanation(b, e.Inside)
	}
}

// verdict is what happens, in a line.
func verdict(e *forward.Explanation) string {
	text, byFilter := plain(e.Decision), e.Phase == metrics.PhaseFilter.String()
	if byFilter && e.Decision == "allow" {
		text = "answered"
	}
	if e.Rule != "" && e.Decision != "observe" {
		text += " by " + ruleName(e)
	}
	if e.Phase != "" && !byFilter && (e.Rule != "" || e.Decision != "allow") {
		text += " (" + plain(e.Phase) + ")"
	}
	switch {
	case e.Status > 0: // of our own
		return text + ": " + strings.TrimSpace(strconv.Itoa(e.Status)+" "+plain(e.Says))
	case e.Decision == "observe":
		text += ": " + ruleName(e) + " would deny it"
	}
	if e.Open != "" {
		text += ", so far"
	}
	if e.Via != "" {
		text += ": " + way(e)
	}
	return text
}

// way is how a request that may go leaves.
func way(e *forward.Explanation) string {
	text := plain(e.Via)
	if e.Via != "direct" {
		text = "by way of " + text
	}
	switch len(e.Egress) {
	case 0:
		return text
	case 1:
		return text + ", from " + plain(e.Egress[0])
	}
	return text + ", from one of " + plain(strings.Join(e.Egress, ", "))
}

// ruleName is a rule or filter of the operator's, or what decides without one.
func ruleName(e *forward.Explanation) string {
	switch {
	case e.Phase == metrics.PhaseFilter.String():
		return "filter " + plain(e.Rule)
	case e.Rule == "default" || slices.Contains(forward.Reserved(), e.Rule):
		return e.Rule
	}
	return "rule " + plain(e.Rule)
}

// writeSteps writes the rules as a table.
func writeSteps(b *strings.Builder, steps []forward.RuleStep) {
	if len(steps) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  RULE\tEFFECT\tRESULT")
	for _, s := range steps {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", plain(s.Rule), plain(s.Effect), plain(s.Result))
	}
	_ = t.Flush() // it writes to memory
}

// plain is text that can do nothing to a terminal, nor to a table.
func plain(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}

// instance is a running viaduct, as seen from its admin address.
type instance struct {
	base  string // http://127.0.0.1:9090
	token string
}

// mostAnswer bounds what an instance is believed to answer.
const mostAnswer = 16 << 20

// askInstance has the instance answer that --admin names.
func askInstance(c *cli.Context, v url.Values) ([]forward.Explanation, error) {
	token, err := admin.ReadToken(c.String("admin-token-file"))
	if err != nil {
		return nil, err
	}
	base, err := adminURL(c.String("admin"))
	if err != nil {
		return nil, err
	}
	status, body, err := instance{base, token}.get(c.Context, "/api/explain?"+v.Encode())
	if err != nil {
		return nil, err
	}
	var found []forward.Explanation
	var wrong struct{ Error string }
	switch {
	case status == http.StatusOK && json.Unmarshal(body, &found) == nil:
		return found, nil
	case status == http.StatusBadRequest && json.Unmarshal(body, &wrong) == nil && wrong.Error != "":
		return nil, usageError(plain(wrong.Error))
	case status == http.StatusUnauthorized && token == "":
		return nil, usageError(base + " asks for a token: add --admin-token-file FILE")
	case status == http.StatusUnauthorized:
		return nil, usageError(base + " knows another token")
	case status == http.StatusMisdirectedRequest:
		return nil, usageError(base + " does not go by this name: write its address, or add the name to the admin hosts")
	}
	return nil, fmt.Errorf("%s answers %d, and not as viaduct explains: is it another program, or another version?", base, status)
}

// adminURL is what the admin address is called by. An address that means every
// one of a machine is reached by its loopback.
func adminURL(text string) (string, error) {
	host, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/"))
	_, noPort := strconv.ParseUint(port, 10, 16)
	if err != nil || noPort != nil || strings.ContainsAny(host, "/@?#% ") {
		return "", usageError(fmt.Sprintf("--admin %s: write host:port, such as 127.0.0.1:9090", text))
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// get asks for a path, on a connection of its own.
func (i instance) get(ctx context.Context, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if i.token != "" {
		request.Header.Set("Authorization", "Bearer "+i.token)
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy of the environment
	answer, err := transport.RoundTrip(request)           // which follows no redirect
	if err != nil {
		return 0, nil, fmt.Errorf("no viaduct answers at %s: %w", i.base, err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of %s breaks off: %w", i.base, err)
	}
	return answer.StatusCode, body, nil
}
