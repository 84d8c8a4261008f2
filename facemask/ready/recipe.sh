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

# The figures of ready-ssd: five folds. Pictures with faces of the rarer classes are learned more often. Each fold starts
# from its classifier, learns crops, and goes on once. (Fold 0 had other steps and crops: docs/results.md.)
make folds FOLDS=5 ANNOTATIONS=annotations/repeated REPEAT=mask_weared_incorrect=4,without_mask=2
ssd="SYSTEM=ssd ANNOTATIONS=annotations/repeated THRESHOLD=best EVAL_OPTIONS=PRECISION=fp32"
crops="MODEL=ssd_mobilenet_v2_fpnlite_640x640 SIZE=320 AUGMENT=zoom ANCHOR_SCALE=4 OPTIMIZER=adam BATCH=8 EVAL_EVERY=0
    PRECISION=fp32 FREEZE=early AVERAGE=0.998"
make crossval NAME=ssd $ssd EXPORT_OPTIONS="SIZE=960 FORMATS=openvino" TRAIN_OPTIONS="$crops LEARNING_RATE=0.0008 STEPS=1500
    CHECKPOINT=workspace/crossval/classifiers/exported/fold{fold}-classifier"
make crossval NAME=ssd-longer $ssd EXPORT_OPTIONS="SIZE=960 FORMATS=openvino" TRAIN_OPTIONS="$crops LEARNING_RATE=0.0006
    WARMUP_STEPS=60 STEPS=1800 SEED=3 CHECKPOINT=workspace/crossval/ssd/models/fold{fold}"
make crossval NAME=ssd-640 $ssd REUSE=ssd-longer EXPORT_OPTIONS="SIZE=640 FORMATS=openvino"

# The weights: the SSD of fold 1 goes on with all photographs; classifiers and face detector learn all their faces.
make records ANNOTATIONS=annotations/all SPLIT=100,0,0
make records ANNOTATIONS=annotations/all-repeated SPLIT=100,0,0 REPEAT=mask_weared_incorrect=4,without_mask=2
make train RUN=ready ANNOTATIONS=annotations/all-repeated CHECKPOINT=workspace/crossval/ssd-longer/models/fold1 $crops \
    LEARNING_RATE=0.0005 WARMUP_STEPS=60 STEPS=1200 SEED=4
make export RUN=ready SIZE=640
make faces RUN=first-faces STEPS=400 ANNOTATIONS=annotations/all
make classifier RUN=ready-classifier ANNOTATIONS=annotations/all \
    FACES_MODEL=workspace/exported/first-faces/yunet.onnx
make classifier RUN=ready-classifier-2 SEED=1 ANNOTATIONS=annotations/all \
    FACES_MODEL=workspace/exported/first-faces/yunet.onnx
make faces RUN=ready-faces STEPS=1200 MIRROR=0 ANNOTATIONS=annotations/all
make ready ANNOTATIONS=annotations/all RUN=ready CLASSIFIER=ready-classifier,ready-classifier-2 \
    FACES=ready-faces REPORT=two_stage FAST_REPORT=fast SSD_REPORT=ssd-640
