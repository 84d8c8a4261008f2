# The figures of ready and ready-fast: five folds. The networks of each fold have not seen its pictures. The classifiers
# learned what a face detector of fewer steps found. (The shipped ones learned faces that were cut out in whole pixels,
# before facemask cut them finely, and the first face detector learned boxes that were up to a pixel off.)
make folds FOLDS=5
make crossval NAME=first SYSTEM=two_stage CLASSIFIERS=2 FACES_OPTIONS="STEPS=400" \
    EVAL_OPTIONS="FACES_SIZE=960,1280 PRECISION=fp32" THRESHOLD=best
make crossval NAME=classifiers SYSTEM=classifier CLASSIFIERS=2 REUSE=first
make crossval NAME=two_stage SYSTEM=two_stage CLASSIFIERS=2 REUSE=classifiers FACES_OPTIONS="STEPS=1200 MIRROR=0" \
    EVAL_OPTIONS="FACES_SIZE=960,1280 PRECISION=fp32" THRESHOLD=best
make crossval NAME=fast SYSTEM=two_stage REUSE=two_stage EVAL_OPTIONS="FACES_SIZE=640 PRECISION=fp32" \
    THRESHOLD=best

# The figures of ready-ssd: fold 0 of five. Pictures with faces of the rarer classes are learned more often.
make folds FOLDS=5 ANNOTATIONS=annotations/repeated REPEAT=mask_weared_incorrect=4,without_mask=2
make train RUN=fold0-320 ANNOTATIONS=annotations/repeated/folds/0 MODEL=ssd_mobilenet_v2_fpnlite_640x640 SIZE=320 \
    CHECKPOINT=imagenet OPTIMIZER=adam LEARNING_RATE=0.0008 AUGMENT=strong BATCH=8 STEPS=2000 EVAL_EVERY=0 \
    PRECISION=fp32 FREEZE=early AVERAGE=0.998
make train RUN=fold0 ANNOTATIONS=annotations/repeated/folds/0 MODEL=ssd_mobilenet_v2_fpnlite_640x640 SIZE=448 \
    CHECKPOINT=workspace/models/fold0-320 OPTIMIZER=adam LEARNING_RATE=0.0005 WARMUP_STEPS=60 AUGMENT=strong BATCH=8 \
    STEPS=1300 EVAL_EVERY=0 PRECISION=fp32 FREEZE=early AVERAGE=0.998 SEED=1
make export RUN=fold0 ANNOTATIONS=annotations/repeated/folds/0
make eval RUN=fold0 REPORT=fold0-ssd ANNOTATIONS=annotations/folds/0 PRECISION=fp32 THRESHOLD=best

# The weights: fold0 goes on with all photographs; classifiers and face detector learn all their faces.
make records ANNOTATIONS=annotations/all SPLIT=100,0,0
make records ANNOTATIONS=annotations/all-repeated SPLIT=100,0,0 REPEAT=mask_weared_incorrect=4,without_mask=2
make train RUN=ready ANNOTATIONS=annotations/all-repeated MODEL=ssd_mobilenet_v2_fpnlite_640x640 SIZE=448 \
    CHECKPOINT=workspace/models/fold0 OPTIMIZER=adam LEARNING_RATE=0.0002 WARMUP_STEPS=30 AUGMENT=strong BATCH=8 \
    STEPS=300 EVAL_EVERY=0 PRECISION=fp32 FREEZE=early AVERAGE=0.99 SEED=2
make export RUN=ready
make faces RUN=first-faces STEPS=400 ANNOTATIONS=annotations/all
make classifier RUN=ready-classifier ANNOTATIONS=annotations/all \
    FACES_MODEL=workspace/exported/first-faces/yunet.onnx
make classifier RUN=ready-classifier-2 SEED=1 ANNOTATIONS=annotations/all \
    FACES_MODEL=workspace/exported/first-faces/yunet.onnx
make faces RUN=ready-faces STEPS=1200 MIRROR=0 ANNOTATIONS=annotations/all
make ready ANNOTATIONS=annotations/all RUN=ready CLASSIFIER=ready-classifier,ready-classifier-2 \
    FACES=ready-faces REPORT=two_stage FAST_REPORT=fast SSD_REPORT=fold0-ssd
