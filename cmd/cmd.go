// Package cmd is the command line: one file a command, and what they share.
package cmd

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/config"
	"viaduct/server"
)

// Exit codes.
const (
	exitUsage  = 1 // the command line, or the configuration, is wrong
	exitStart  = 2 // could not start: address in use, file not readable
	exitForced = 3 // ended before everything was done
)

// usageError is a mistake on the command line, in words that say what to do.
type usageError string

func (e usageError) Error() string { return string(e) }

// Main runs the program and returns its exit code. Mistakes are told on errOut.
func Main(args []string, out, errOut io.Writer) int {
	app := &cli.App{
		Name:  "viaduct",
		Usage: "a proxy between a network and the world",
		Description: "Try: viaduct forward, then in another terminal:\n   curl -x http://127.0.0.1:3128 http://example.com/\n" +
			"What takes more than a few flags is written to a file:\n   viaduct check -c viaduct.yaml && viaduct run -c viaduct.yaml",
		Writer:         out,
		ErrWriter:      errOut,
		HideVersion:    true,
		Suggest:        true,
		Commands:       []*cli.Command{forwardCommand(errOut), runCommand(errOut), checkCommand(), versionCommand()},
		OnUsageError:   wrongUsage,
		Action:         noCommand,
		ExitErrHandler: func(*cli.Context, error) {},
	}
	for _, c := range app.Commands {
		c.OnUsageError = wrongUsage
	}
	args, err := arrange(args, app.Commands)
	if err == nil {
		err = app.Run(args)
	}
	return exitCode(err, errOut)
}

// exitCode tells the mistakes, and what the program ends with.
func exitCode(err error, errOut io.Writer) int {
	var usage usageError
	var problems config.Problems
	var topic cli.ExitCoder // of the library's help command
	switch {
	case err == nil:
		return 0
	case errors.As(err, &problems):
		for _, p := range problems {
			if p.File == "" { // else it begins with its place
				fmt.Fprint(errOut, "viaduct: ")
			}
			fmt.Fprintln(errOut, p)
		}
		return exitUsage
	}
	fmt.Fprintln(errOut, "viaduct:", err)
	switch {
	case errors.Is(err, server.ErrCut):
		return exitForced
	case errors.As(err, &usage), errors.As(err, &topic):
		return exitUsage
	}
	return exitStart
}

// wrongUsage makes the library's error one of ours, with its suggestion.
func wrongUsage(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		return unknownFlag(c.App.Commands, c.Command, strings.TrimPrefix(name, "-"))
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return usageError(dashed(strings.TrimPrefix(name, "-")) + " needs a value")
	}
	return usageError(err.Error())
}

// dashed is a flag as people write it.
func dashed(name string) string { return strings.Repeat("-", min(len(name), 2)) + name }

// unknownFlag is about a flag that a command does not have: one of another
// command, or a slip.
func unknownFlag(commands []*cli.Command, c *cli.Command, name string) error {
	var owners []string
	for _, o := range commands {
		if hasFlag(o, name) {
			owners = append(owners, "viaduct "+o.Name)
		}
	}
	text := "unknown flag " + dashed(name)
	switch s := cli.SuggestFlag(c.Flags, name, false); {
	case slices.Contains(owners, "viaduct forward") && hasFlag(c, "config"):
		text += ": " + c.Name + " takes its options from the file, and nothing from the environment"
	case owners != nil:
		text += ": it belongs to " + strings.Join(owners, " and ")
	case s != "":
		text += ": did you mean " + s + "?"
	}
	return usageError(text)
}

func hasFlag(c *cli.Command, name string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f != cli.HelpFlag && slices.Contains(f.Names(), name) })
}

func noCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	text := fmt.Sprintf("unknown command %q", c.Args().First())
	if s, ok := strings.CutPrefix(cli.SuggestCommand(c.App.Commands, c.Args().First()), "Did you mean "); ok && s != `""?` {
		text += ": did you mean " + s
	}
	return usageError(text)
}

// arrange lets flags stand anywhere: before the command, behind it, and behind
// its arguments. The library wants them between the command and its arguments.
func arrange(args []string, commands []*cli.Command) ([]string, error) {
	every := &cli.Command{Flags: []cli.Flag{cli.HelpFlag}}
	for _, c := range commands {
		every.Flags = append(every.Flags, c.Flags...)
	}
	known := map[string]cli.Flag{}
	for _, f := range every.Flags {
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
			return nil, unknownFlag(commands, commandOf(rest, commands, every), name)
		}
		if !joined && takesValue(f) && i+1 < len(rest) {
			i++
			flags = append(flags, rest[i])
		}
	}
	if len(words) == 0 {
		return append(args[:1:1], flags...), nil
	}
	if words[0] == "help" || words[0] == "h" {
		flags = nil // it takes none, and may be asked about a line that is half written
	}
	out := []string{args[0], words[0]}
	out = append(out, flags...)
	return append(out, words[1:]...), nil
}

// commandOf is the command among the words of the line, or else every command.
func commandOf(line []string, commands []*cli.Command, every *cli.Command) *cli.Command {
	for _, word := range line {
		for _, c := range commands {
			if c.Name == word {
				return c
			}
		}
	}
	return every
}

func takesValue(f cli.Flag) bool {
	v, ok := f.(cli.DocGenerationFlag)
	return ok && v.TakesValue()
}

// noArguments refuses words behind a command that takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() == 0 {
		return nil
	}
	text := fmt.Sprintf("%s takes no arguments, but there is %q", c.Command.Name, c.Args().First())
	if hasFlag(c.Command, "config") && !c.IsSet("config") {
		text += fmt.Sprintf(": write %s -c %s", c.Command.Name, c.Args().First())
	}
	return usageError(text)
}
