"""A callback of scikit-learn's protocol that does nothing, for others to build upon."""


class Quiet:
    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        return False
