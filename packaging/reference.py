#!/usr/bin/env python3
"""The manual page or the bash completion of a program, from what the program itself prints.

    reference.py man|completion NAME PROGRAM VERSION

PROGRAM is run as NAME. Its --help, and that of each of its commands, is made from the tables of the source; the exit codes are
those that its `explain` prints.
"""
import json
import os
import re
import subprocess
import sys
import time


def output_of(name, program, *arguments):
    return subprocess.run([name, *arguments], executable=program, check=True, capture_output=True, text=True).stdout


class Help:
    """One --help: description, usage, [(option, text)], [(command, text)], examples, notes."""

    def __init__(self, text):
        before, _, self.examples = text.partition("\nExamples:\n")
        self.examples, _, self.notes = self.examples.partition("\n\n")
        blocks = re.split(r"\n+(?=Options:|Subcommands:)", before)
        self.description, _, self.usage = blocks[0].strip().partition("\nUsage: ")
        rows = {"Options": [], "Subcommands": []}
        for block in blocks[1:]:
            title, _, body = block.partition(":\n")
            for line in map(str.rstrip, body.splitlines()):
                if line.startswith("   "):  # the text of a long option stands below it
                    option, said = rows[title][-1]
                    rows[title][-1] = (option, f"{said} {line.strip()}".strip())
                elif line.strip():
                    option, said = re.fullmatch(r"  (\S(?:.*?\S)??)(?:\s{2,}(.*))?", line).groups()
                    rows[title].append((option, said or ""))
        self.options, self.commands = rows["Options"], rows["Subcommands"]


class Program:
    def __init__(self, name, path):
        self.name = name
        self.help = Help(output_of(name, path, "--help"))
        self.commands = {command: Help(output_of(name, path, command, "--help")) for command, _ in self.help.commands}
        explained = json.loads(output_of(name, path, "explain", "--json"))
        self.exit_codes = [tuple(row[column] for column in ("code", "means", "writable now")) for row in explained.get("exit_codes", [])]


# --- Manual page -------------------------------------------------------------------------------------------------------

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


short_names = "/usr/lib/replica-migration/bin"


def bold(text):
    return f"\\fB{roff(text)}\\fR"


def italic(text):
    return f"\\fI{roff(text)}\\fR"


def option_rows(options):
    for option, text in options:
        flag, _, argument = option.partition(" ")
        argument, _, other = argument.partition(":")  # TEXT:FILE, or "Needs: --dry-run"
        if argument in ("Needs", "Excludes"):
            argument, text = "", f"{text} ({argument.lower()} {other.strip()})"
        yield f".TP\n{bold(flag.replace(',', ', '))} {italic(argument)}\n{roff(text)}"


def manual(program, version):
    moment = os.environ.get("SOURCE_DATE_EPOCH")
    day = time.strftime("%Y-%m-%d", time.gmtime(int(moment))) if moment else ""
    help_ = program.help
    yield f'.TH {program.name.upper()} 1 "{day}" "replica-migration {version}" "User Commands"'
    summary = help_.description.rstrip(".")
    yield f".SH NAME\n{program.name} \\- {roff(summary[0].lower() + summary[1:])}"
    yield f".SH SYNOPSIS\n{bold(program.name)} {roff(help_.usage.partition(' ')[2])}"
    yield f".SH DESCRIPTION\n{roff(help_.description)}\n.PP\n{roff(help_.notes.strip())}"
    yield ".PP\nThe variable of an option stands in brackets behind it. A password has a variable, and no option."
    short = program.name.partition("-")[2]
    yield f".PP\nHints and pages call this program {bold(short)}. It has that name, too, in {roff(short_names)}."
    yield ".SH OPTIONS"
    yield from option_rows(help_.options)
    yield ".SH COMMANDS"
    for command, text in help_.commands:
        yield f".SS {roff(command)}\n{roff(text)}."
        yield from option_rows(row for row in program.commands[command].options if not row[0].startswith("-h"))
    if program.exit_codes:
        yield ".SH EXIT STATUS"
        for code, meaning, writable in program.exit_codes:
            yield f".TP\n{code}\n{roff(meaning)}. Writable now: {roff(writable)}"
    yield f".SH EXAMPLES\n.nf\n{roff(help_.examples)}\n.fi"
    yield (".SH FILES\n.TP\n/etc/replica\\-migration/pair.toml\nthe settings of the services, and of you: \\fB\\-\\-config\\fR"
           "\n.TP\n/var/lib/replica\\-migration\njournals and reports of cutovers, and the passwords of the services, .pgpass")
    others = sorted({"pgrm-agent", "pgrm-exporter", "pgrm-loadgen"} - {program.name})
    yield ".SH SEE ALSO\n" + ",\n".join(f".BR {roff(other)} (1)" for other in others)
    yield ".PP\nThe pages in /usr/share/doc/replica\\-migration/docs."


# --- Completion --------------------------------------------------------------------------------------------------------

def words(help_):
    return " ".join(flag for option, _ in help_.options for flag in option.partition(" ")[0].split(",")
                    if flag.startswith("--"))


def completion(program):
    function = "_" + program.name.replace("-", "_")
    yield f"# bash completion of {program.name}\n{function}() {{"
    yield "  local word command='' offered"
    yield '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield f'    case $word in {" | ".join(program.commands)}) command=$word ;; esac'
    yield "  done"
    # The options of the program may stand behind a command, too.
    yield f"  offered='{words(program.help)}'"
    yield "  case $command in"
    yield f"    '') offered+=' {' '.join(program.commands)}' ;;"
    for command, help_ in program.commands.items():
        yield f"    {command}) offered+=' {words(help_)}' ;;"
    yield "  esac"
    yield '  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "${COMP_WORDS[COMP_CWORD]}")'
    yield f"}}\ncomplete -o default -F {function} {program.name}"


def main():
    kind, name, path, version = sys.argv[1:]
    program = Program(name, path)
    print("\n".join(manual(program, version) if kind == "man" else completion(program)))


main()
