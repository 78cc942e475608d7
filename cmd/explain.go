package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/admin"
	"viaduct/config"
	"viaduct/display"
	"viaduct/forward"
	"viaduct/instance"
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
		Flags: append([]cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "user", Usage: "who asks: a `USER` that has authenticated"},
			&cli.StringFlag{Name: "client", Usage: "the `IP` that it comes from (default: this machine)"},
			&cli.StringFlag{Name: "addr", Usage: "the `IP` that the host's name leads to"},
			&cli.StringFlag{Name: "method", Usage: "the `METHOD`, as the word before the URL"},
			&cli.StringFlag{Name: "listener", Usage: "only the entry of this `NAME` or listen address"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true},
		}, adminFlags("ask the instance with this admin `ADDR`: host:port, or unix:///path")...),
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
	return display.Explanations(c.App.Writer, found)
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

// askInstance has the instance answer that --admin names.
func askInstance(c *cli.Context, v url.Values) ([]forward.Explanation, error) {
	var found []forward.Explanation
	_, err := ask(c, c.String("admin"), "/api/explain?"+v.Encode(), &found)
	return found, err
}

// ask has a running instance answer a question, as JSON, into found.
func ask(c *cli.Context, addr, path string, found any) (instance.Instance, error) {
	token, err := admin.ReadToken(c.String("admin-token-file"))
	if err != nil {
		return instance.Instance{}, err
	}
	i, err := instance.At(addr, token)
	if err != nil {
		return i, usageError("--admin " + err.Error())
	}
	err = i.Ask(c.Context, path, found)
	if mistake, ok := errors.AsType[instance.MistakeError](err); ok {
		return i, usageError(display.Plain(string(mistake)))
	}
	return i, err
}

// adminFlags are those of commands that ask a running instance.
func adminFlags(usage string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "admin", Usage: usage},
		&cli.StringFlag{Name: "admin-token-file", Usage: "the `FILE` with its token; a socket needs none"},
	}
}
