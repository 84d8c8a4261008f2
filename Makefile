# One target a step: `make train RUN=first` runs `python -m scripts.train --run=first` in .venv, which it makes first.
# `make` lists the targets, `make train HELP=1` the variables of one. A new step is one line here, scripts/<step>.py, and
# facemask/cli/<step>_command.py with its options and the line that `make` lists.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.NOTPARALLEL:

# Only variables on make's command line count, not a HOST or MODEL that the shell exports. Make never expands their
# values, and the shell sees them only as environment variables. (The names of this file's own variables have a hyphen,
# because no option has one.)
given-names := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(given-names),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))
value-given = $(if $(filter $1,$(given-names)),$(value $1))
comma := ,
format-names = $(subst $(comma), ,$(call value-given,FORMATS))

##@ Set up
setup: ## Make .venv with the locked packages; the others do it when they need it. [PYTHON= GPU=1]
	@scripts/setup.sh base
doctor: venv

##@ Label and convert
data: venv-data
label: venv-label
prelabel: venv
sample: venv
import: venv
labels: venv
check: venv
suspects: venv
next: venv
records: venv $(if $(call value-given,RUNNER),venv-beam)

##@ Train and use
train: venv
augmentations: venv
tensorboard: venv
curves: venv
runs: venv
export: venv $(addprefix venv-,$(sort $(filter onnx tflite int8,$(format-names))))
faces: venv-onnx
classifier: venv
infer: venv
serve: venv-serve
page: venv-onnx
small: venv-onnx venv-tflite
watch: venv-mqtt
demo: venv

##@ Know how good it is
eval: venv
report: venv
compare: venv
folds: venv
crossval: venv $(if $(call value-given,FACES_OPTIONS),venv-onnx)

##@ Develop
test: lint ## Run lint, and the tests that take minutes at most. [TESTS=tests/data]
	$(venv-python) -m pytest -n 2 --max-worker-restart=0 --dist loadfile --no-loadscope-reorder $(test-paths)
test-long: venv-dev ## Run the tests that take longer. [TESTS=tests/data]
	$(venv-python) -m pytest -m long $(test-paths)
# The last NumPy and PyAV for Python 3.10 have older types, with which mypy finds 300 errors.
lint: venv-dev ## Run ruff, and from Python 3.11 on mypy.
	$(venv-python) -m ruff check .
	$(venv-python) -m ruff format --check .
	@if $(venv-python) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then set -x; $(venv-python) -m mypy; \
	    else echo "lint: mypy was not run: it needs the packages that Python 3.11 and later have"; fi
ready: venv-onnx venv-int8
docs: venv-docs ## Write the documentation as a site to site/.
	NO_MKDOCS_2_WARNING=1 $(venv-python) -m mkdocs build --quiet
lock: ## Compile pyproject.toml into lock/, with uv. [UV=uv UPGRADE=1]
	@scripts/lock.sh
clean:
	@if [ -x $(venv-python) ]; then $(run-step); else echo "clean: there is no .venv, so nothing was made"; fi
help: ## List the targets.
	@awk '/^##@ / { listing = 1; printf "\n%s\n", substr($$0, 5) } \
	    /^# ----/ { listing = 0 } \
	    listing && /^[a-z-]+:/ { \
	        name = $$0; sub(/:.*/, "", name); \
	        if (!sub(/.*## /, "")) { getline < ("facemask/cli/" name "_command.py"); gsub(/"""/, "") } \
	        printf "  make %-13s  %s\n", name, $$0 \
	    } \
	    END { print "\nmake train HELP=1 lists the variables of train (after `make setup`): make train RUN=first STEPS=500" }' Makefile

# ---- how it works ----

all-steps := $(patsubst facemask/cli/%_command.py,%,$(wildcard facemask/cli/*_command.py))
venv-python := .venv/bin/python
own-variables := PYTHON GPU TESTS UV UPGRADE
unknown-names := $(filter-out $(own-variables),$(given-names))
ifeq ($(filter $(all-steps),$(MAKECMDGOALS)),)
$(if $(unknown-names),$(error $(unknown-names): no variable of `make $(MAKECMDGOALS)`. It takes $(own-variables)))
endif
test-paths = $(if $(call value-given,TESTS),"$$TESTS")

# facemask/cli/make_variables.py takes the values of these names from the environment.
export STEP_VARIABLES := $(filter-out $(own-variables),$(given-names))
export STEP_GOALS := $(MAKECMDGOALS)
run-step = FACEMASK_MAKE_VARIABLES="$$STEP_VARIABLES" FACEMASK_MAKE_GOALS="$$STEP_GOALS" $(venv-python) -m scripts.$@
$(filter-out clean,$(all-steps)):
	@$(run-step)

# The environment, and the groups of packages in it (lock/<group>.txt) that some steps alone need.
# HELP=1 installs nothing: the options of a step are in Python, which needs .venv to read them.
all-venvs := venv $(patsubst lock/%.txt,venv-%,$(wildcard lock/*.txt))
ifeq ($(call value-given,HELP),)
$(all-venvs):
	@scripts/setup.sh --quiet base $(patsubst venv-%,%,$(filter venv-%,$@))
else
$(all-venvs):
	@[ -x $(venv-python) ] && [ -e .venv/locks/base.txt ] || { echo "HELP=1 needs .venv with its packages: run" \
	    "\`make setup\` first. The options of a step stand in facemask/cli/<step>_command.py." >&2; exit 2; }
endif

# Variables of another project's Python are not passed on.
unexport PYTHONPATH PYTHONHOME $(filter-out $(given-names),$(own-variables))

.PHONY: setup docs test test-long lint lock help $(all-steps) $(all-venvs)
