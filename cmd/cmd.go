// Package cmd is the command line: one file a command, and what they share.
package cmd

import (
	"errors"
	"fmt"
	"io"
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
		Commands:       []*cli.Command{forwardCommand(errOut), runCommand(errOut), checkCommand(), explainCommand(), statusCommand(), passwdCommand(), caCommand(), lbCommand(), versionCommand()},
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
	for line := range strings.SplitSeq(err.Error(), "\n") { // each mistake in one of its own
		fmt.Fprintln(errOut, "viaduct:", line)
	}
	switch {
	case errors.Is(err, server.ErrCut):
		return exitForced
	case errors.As(err, &usage), errors.As(err, &topic):
		return exitUsage
	}
	return exitStart
}

// wrongUsage makes the library's error one of ours.
func wrongUsage(_ *cli.Context, err error, _ bool) error { return usageError(err.Error()) }

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
