# The front door: one target a step, each of them `python -m scripts.<step>`. `make` alone lists them.
#
# A new step is three lines:
#     step: VARIABLES = NAME=default OTHER_NAME=     its options --name and --other-name. The defaults are the script's;
#     step: venv ## what it does                     here they are only said. A switch goes in SWITCHES too.
#     	$(step)
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.NOTPARALLEL:

# The groups of packages that FORMATS=onnx,int8 needs (openvino where nothing is said), for a prerequisite below.
comma := ,
formats = $(if $(value FORMATS),$(subst $(comma), ,$(value FORMATS)),openvino)
groups_of_formats = $(sort $(filter openvino onnx tflite int8,$(formats)) $(if $(filter int8,$(formats)),openvino))

SWITCHES := BLUR DRY FRESH SHOW STRICT VOC
PYTHON_OF_VENV := .venv/bin/python

##@ Set up

setup: VARIABLES = PYTHON= GPU=0
setup: ## make .venv and install the locked packages; the other targets do it when they need it
	@scripts/setup.sh base

doctor: VARIABLES = MODEL=ssd_resnet50_v1_fpn_640x640
doctor: venv ## say what was found: Python, TensorFlow, devices, bf16, disk, memory, display, the zoo
	$(step)

##@ Label and convert

data: VARIABLES = IMAGES=workspace/images ARCHIVE=
data: venv-data ## bring the public data set from Kaggle into the folder of images
	$(step)

label: VARIABLES = IMAGES=workspace/images CLASSES=configs/classes.txt
label: venv-label ## draw boxes on your images, in labelImg
	$(step)

prelabel: VARIABLES = IMAGES=workspace/images RUN=default DETECTOR=ssd FACES=yunet FACES_MODEL= FACES_SIZE=0 \
    CLASSIFIER=classifier THRESHOLD=0.5 RUNTIME=auto PRECISION=auto EXPORTED=workspace/exported
prelabel: venv ## let a trained model draw the boxes first, for you to correct
	$(step)

sample: VARIABLES = OUT=workspace/sample COUNT=300 SEED=0
sample: venv ## draw the sample data set
	$(step)

check: VARIABLES = IMAGES=workspace/images ANNOTATIONS=annotations CLASSES=configs/classes.txt SPLIT=70,15,15 SIZE=640 \
    ANCHOR_SCALE=2.0 PAGE=workspace/reports/data.html STRICT=0 PROCESSES=0
check: venv ## say what is wrong with the labelled images, and what is in them
	$(step)

records: VARIABLES = IMAGES=workspace/images ANNOTATIONS=annotations CLASSES=configs/classes.txt SPLIT=70,15,15 SHARDS=0 \
    REPEAT= PROCESSES=0 RUNNER= RUNNER_OPTIONS=
records: venv$(if $(value RUNNER),-beam) ## turn labelled images into the label map and the records
	$(step)

##@ Train and use

train: VARIABLES = RUN=default STEPS=3000 BATCH=8 SIZE= LEARNING_RATE= OPTIMIZER=momentum WARMUP_STEPS= ANCHOR_SCALE=2.0 \
    WEIGHT_DECAY= BATCH_NORM_DECAY= CLIP_GRADIENTS=10.0 AUGMENT=light FREEZE=none PRECISION=auto SAVE_EVERY=0 EVAL_EVERY=500 \
    PATIENCE=0 SEED=0 FRESH=0 MODEL=ssd_resnet50_v1_fpn_640x640 CHECKPOINT=zoo ANNOTATIONS=annotations \
    MODELS=workspace/models
train: venv ## fine-tune the zoo's model on the records; run again, it goes on
	$(step)

augmentations: VARIABLES = AUGMENT=light MODEL=ssd_resnet50_v1_fpn_640x640 SIZE= PICTURES=4 DRAWS=5 SEED=0 \
    ANNOTATIONS=annotations REPORTS=workspace/reports
augmentations: venv ## draw what the model really sees in training
	$(step)

tensorboard: VARIABLES = MODELS=workspace/models HOST=127.0.0.1 PORT=6006
tensorboard: venv ## watch the runs in TensorBoard
	$(step)

curves: VARIABLES = RUN=default MODELS=workspace/models REPORTS=workspace/reports
curves: venv ## draw a run's loss, learning rate and validation into one PNG
	$(step)

runs: VARIABLES = MODELS=workspace/models
runs: venv ## list the runs: steps, best mAP, size, date
	$(step)

export: VARIABLES = RUN=default CKPT=best FORMATS= ANNOTATIONS=annotations MODELS=workspace/models \
    EXPORTED=workspace/exported
export: venv $(patsubst %,venv-%,$(groups_of_formats)) ## write the run's model, ready for use
	$(step)

classifier: VARIABLES = RUN=classifier ANNOTATIONS=annotations DATASET= CLASSES=configs/classes.txt SPLIT=70,15,15 \
    BACKBONE=mobilenet_v2 WEIGHTS=imagenet SIZE=96 MARGIN=0.2 MIN_FACE=8.0 EPOCHS=20 FINE_TUNE_EPOCHS=10 BATCH=32 \
    LEARNING_RATE=0.001 FINE_TUNE_RATE=1e-05 DROPOUT=0.2 CLASS_WEIGHTS=balanced AUGMENT=light PRECISION=auto SEED=0 \
    FRESH=0 FORMATS= MODELS=workspace/models EXPORTED=workspace/exported REPORTS=workspace/reports
classifier: venv$(if $(filter saved_model,$(value FORMATS)),,-openvino) ## train a classifier of faces, and export it
	$(step)

infer: VARIABLES = IMG= RUN=default THRESHOLD=0.5 OUT= BLUR=0 SHOW=0 SECONDS=0.0 DETECTOR=ssd FACES=yunet FACES_MODEL= \
    FACES_SIZE=0 CLASSIFIER=classifier RUNTIME=auto PRECISION=auto EXPORTED=workspace/exported \
    PREDICTIONS=workspace/predictions REPORTS=workspace/reports
infer: venv ## draw boxes on pictures, videos, what a camera or a stream shows
	$(step)

# Some shells export HOST, the machine's name: only one that make is given opens the page to others.
ifeq ($(origin HOST),environment)
HOST :=
endif
serve: VARIABLES = RUN=default THRESHOLD=0.5 DETECTOR=ssd FACES=yunet FACES_MODEL= FACES_SIZE=0 CLASSIFIER=classifier \
    RUNTIME=auto PRECISION=auto HOST=127.0.0.1 PORT=7860 MAX_MB=20 TIMEOUT=30.0 EXPORTED=workspace/exported
serve: venv-serve ## a page and an HTTP API that find faces in pictures and a camera, on this machine
	$(step)

demo: VARIABLES = WORKSPACE=workspace/demo COUNT=400 STEPS=1200 SEED=0
demo: venv ## all of it on the sample data set, in a folder of its own
	$(step)

##@ Know how good it is

eval: VARIABLES = RUN=default SPLIT=test IMAGES= THRESHOLD=0.5 REPORT= DETECTOR=ssd FACES=yunet FACES_MODEL= FACES_SIZE=0 \
    CLASSIFIER=classifier RUNTIME=auto PRECISION=auto BATCH=1 MAX_DETECTIONS=100 VOC=0 ANNOTATIONS=annotations \
    EXPORTED=workspace/exported REPORTS=workspace/reports
eval: venv ## measure a detector: COCO's figures, thresholds, confusions, speed
	$(step)

report: VARIABLES = RUN=default MISTAKES=12 NOTE= MODELS=workspace/models REPORTS=workspace/reports
report: venv ## one page of an evaluation, with curves and the worst mistakes
	$(step)

compare: VARIABLES = RUNS= DRAWS=1000 SEED=0 OUT=compare REPORTS=workspace/reports
compare: venv ## several evaluations side by side, with confidence intervals
	$(step)

##@ Develop

test: VARIABLES = TESTS=tests
test: lint ## lint, and the tests that take minutes at most
	$(PYTHON_OF_VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS_GIVEN)

test-long: VARIABLES = TESTS=tests
test-long: venv-dev ## the tests that take longer
	$(PYTHON_OF_VENV) -m pytest -m long $(TESTS_GIVEN)

lint: venv-dev ## ruff and mypy
	$(PYTHON_OF_VENV) -m ruff check .
	$(PYTHON_OF_VENV) -m ruff format --check .
	$(PYTHON_OF_VENV) -m mypy

clean: VARIABLES = DRY=0
clean: ## remove what can be made again; images, runs, downloads and .venv stay
	@if [ -x $(PYTHON_OF_VENV) ]; then $(invocation); else echo "clean: there is no .venv, so nothing was made"; fi

lock: VARIABLES = UV=uv UPGRADE=0
lock: ## compile pyproject.toml into lock/, with uv
	@scripts/lock.sh

help:
	@awk '/\\$$/ { sub(/ *\\$$/, ""); held = held $$0; next } \
	    { line = held $$0; held = ""; gsub(/  +/, " ", line) } \
	    line ~ /^##@ / { print "\n" substr(line, 5); next } \
	    line ~ /^[a-z-]+: VARIABLES = / { split(line, part, ": VARIABLES = "); variables[part[1]] = part[2] } \
	    line ~ /^[a-z-]+:.* ## / { name = line; sub(/:.*/, "", name); sub(/.* ## /, "", line); \
	        printf "  make %-13s %s%s\n", name, line, (name in variables) ? "  [" variables[name] "]" : "" } \
	    ' Makefile

# ---- how it works ----

# The environment, and the groups of packages in it (lock/<group>.txt) that some steps alone need.
VENVS := venv $(patsubst lock/%.txt,venv-%,$(wildcard lock/*.txt))
$(VENVS):
	@scripts/setup.sh --quiet base $(patsubst venv-%,%,$(filter venv-%,$@))

# A value given on the command line is text: make never expands it, and the shell sees it only as "$NAME".
$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),\
    $(eval override $v := $$(value $v))$(eval export $v)))

# --learning-rate="$LEARNING_RATE", if it has a value; --fresh for a switch that is neither 0 nor no.
option = $(if $(value $1),$(if $(filter $1,$(SWITCHES)),$(if $(filter-out 0 no,$(value $1)),--$(call lower,$1)),\
    --$(call lower,$1)="$$$1"))
options = $(strip $(foreach pair,$(VARIABLES),$(call option,$(firstword $(subst =, ,$(pair))))))
lower = $(subst A,a,$(subst B,b,$(subst C,c,$(subst D,d,$(subst E,e,$(subst F,f,$(subst G,g,$(subst H,h,$(subst I,i,$(subst \
    J,j,$(subst K,k,$(subst L,l,$(subst M,m,$(subst N,n,$(subst O,o,$(subst P,p,$(subst Q,q,$(subst R,r,$(subst S,s,$(subst \
    T,t,$(subst U,u,$(subst V,v,$(subst W,w,$(subst X,x,$(subst Y,y,$(subst Z,z,$(subst _,-,$1)))))))))))))))))))))))))))
invocation = $(PYTHON_OF_VENV) -m scripts.$@ $(options)
step = @$(invocation)
TESTS_GIVEN = $(if $(value TESTS),"$$TESTS")

# Another project's PYTHONPATH has no business here.
unexport PYTHONPATH PYTHONHOME

.PHONY: $(shell sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' Makefile) $(VENVS)
