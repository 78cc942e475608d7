// Package cmd is the command line: one file a command, and what they share.
package cmd

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/server"
)

// Exit codes.
const (
	exitUsage  = 1 // the command line is wrong
	exitStart  = 2 // could not start: address in use, file not readable
	exitForced = 3 // ended before everything was done
)

// Main runs the program and returns its exit code. Mistakes are told on errOut.
func Main(args []string, out, errOut io.Writer) int {
	app := &cli.App{
		Name:                   "viaduct",
		Usage:                  "a proxy between a network and the world",
		Description:            "Try: viaduct forward, then in another terminal:\n   curl -x http://127.0.0.1:3128 http://example.com/",
		Writer:                 out,
		ErrWriter:              errOut,
		HideVersion:            true,
		Suggest:                true,
		UseShortOptionHandling: false,
		CustomAppHelpTemplate:  "",
		Commands:               []*cli.Command{forwardCommand(errOut), versionCommand()},
		OnUsageError:           usageError,
		CommandNotFound:        nil,
		Action:                 noCommand,
		ExitErrHandler:         func(*cli.Context, error) {},
	}
	for _, c := range app.Commands {
		c.OnUsageError = usageError
	}
	args, err := arrange(args, app.Commands)
	if err == nil {
		err = app.Run(args)
	}
	return exitCode(err, errOut)
}

// exitCode tells the mistake, and what the program ends with.
func exitCode(err error, errOut io.Writer) int {
	var usage server.UsageError
	var topic cli.ExitCoder // of the library's help command
	switch {
	case err == nil:
		return 0
	case errors.Is(err, server.ErrCut):
		fmt.Fprintln(errOut, "viaduct:", err)
		return exitForced
	case errors.As(err, &usage), errors.As(err, &topic):
		fmt.Fprintln(errOut, "viaduct:", err)
		return exitUsage
	}
	fmt.Fprintln(errOut, "viaduct:", err)
	return exitStart
}

// usageError makes the library's error one of ours, with its suggestion.
func usageError(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		return unknownFlag(c.Command.Flags, strings.TrimPrefix(name, "-"))
	}
	return server.UsageError(err.Error())
}

func unknownFlag(flags []cli.Flag, name string) error {
	text := "unknown flag --" + name
	if s := cli.SuggestFlag(flags, name, false); s != "" {
		text += ": did you mean " + s + "?"
	}
	return server.UsageError(text)
}

func noCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	text := fmt.Sprintf("unknown command %q", c.Args().First())
	if s, ok := strings.CutPrefix(cli.SuggestCommand(c.App.Commands, c.Args().First()), "Did you mean "); ok && s != `""?` {
		text += ": did you mean " + s
	}
	return server.UsageError(text)
}

// arrange lets flags stand anywhere: before the command, behind it, and behind
// its arguments. The library wants them between the command and its arguments.
func arrange(args []string, commands []*cli.Command) ([]string, error) {
	known := map[string]cli.Flag{}
	var all []cli.Flag
	for _, c := range commands {
		all = append(all, c.Flags...)
	}
	for _, f := range append(all, cli.HelpFlag) {
		for _, n := range f.Names() {
			known[n] = f
		}
	}
	var flags, words []string
	rest := args[1:]
	for i := 0; i < len(rest); i++ {
		if rest[i] == "--" {
			words = append(words, rest[i:]...)
			break
		}
		if len(rest[i]) < 2 || rest[i][0] != '-' {
			words = append(words, rest[i])
			continue
		}
		flags = append(flags, rest[i])
		name, _, joined := strings.Cut(strings.TrimLeft(rest[i], "-"), "=")
		f, ok := known[name]
		if !ok {
			return nil, unknownFlag(all, name)
		}
		if !joined && takesValue(f) && i+1 < len(rest) {
			i++
			flags = append(flags, rest[i])
		}
	}
	if len(words) == 0 {
		return append(args[:1:1], flags...), nil
	}
	out := []string{args[0], words[0]}
	out = append(out, flags...)
	return append(out, words[1:]...), nil
}

func takesValue(f cli.Flag) bool {
	v, ok := f.(cli.DocGenerationFlag)
	return ok && v.TakesValue()
}

// noArguments refuses words behind a command that takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return server.UsageError(fmt.Sprintf("%s takes no arguments, but there is %q", c.Command.Name, c.Args().First()))
	}
	return nil
}
